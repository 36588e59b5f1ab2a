"""The FM as an actor-backed Ray Serve deployment."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import torch
from ray import serve
from ray.serve.handle import DeploymentHandle

from exfm_ray.config import DasConfig
from exfm_ray.das.loader import SnapshotLoader
from exfm_ray.das.pointer_at import pointer_at
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.wire import answered
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.errors import DataError

REQUESTS_AT_ONCE = 8
"""per replica; more wait in the caller"""


class FoundationModel:
    """One replica. All are equal: each follows the pointer by itself.

    Args:
        snapshots: URI of the FM's snapshot database.
        pointer: address of the latest pointer, as `pointer_at` takes it.
        das: a `DasConfig` as JSON values.
    """

    def __init__(self, snapshots: str, pointer: str, das: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        self._das = DasConfig.model_validate(das)
        database = SnapshotDatabase(Location(snapshots))
        self._loader = SnapshotLoader(database, pointer_at(pointer), self._das.lease_seconds, time.time)
        self._loader.follow(self._das.poll_seconds)
        # torch computes in one thread, so that the event loop goes on answering health checks
        self._compute = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")

    async def predict(self, rows: bytes | pa.Buffer, snapshot_day: int | None) -> tuple[str, bytes]:
        """Supervise rows.

        Args:
            rows: Arrow IPC with the snapshot's features.
            snapshot_day: exactly the snapshot of this day answers (pinned mode); None: the newest that is loaded
                (latest mode).

        Returns:
            the snapshot's identity, and Arrow IPC with `fm_<task>` per row and the seconds of the work.

        Raises:
            DataError: the pointer did not bring that snapshot here within `swap_timeout_seconds`.
        """
        predictor = await self._predictor(snapshot_day)
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._compute, answered, rows, predictor.predict)
        return predictor.identity, answer

    async def describe(self) -> dict[str, Any]:
        """What answers now: `snapshot` (identity), `snapshot_day`, `inputs` (a `Schema` as JSON values), `tasks`.

        Raises:
            DataError: no snapshot was loaded within `swap_timeout_seconds`.
        """
        predictor = await self._predictor(None)
        return {
            "snapshot": predictor.identity,
            "snapshot_day": predictor.snapshot_day,
            "inputs": predictor.inputs.model_dump(mode="json"),
            "tasks": list(predictor.tasks),
        }

    async def _predictor(self, snapshot_day: int | None) -> Predictor:
        deadline = time.monotonic() + self._das.swap_timeout_seconds
        while (predictor := self._loader.current) is None or snapshot_day not in (None, predictor.snapshot_day):
            if time.monotonic() > deadline:
                now = predictor.identity if predictor else "no snapshot"
                asked = "any" if snapshot_day is None else f"that of day {snapshot_day}"
                raise DataError(f"{now} answers, not {asked}; {self._loader.problem or 'no problem'}")
            await asyncio.sleep(self._das.poll_seconds / 4)
        return predictor


@contextmanager
def serving(experiment: Experiment, pointer: str) -> Iterator[tuple[str, DeploymentHandle[Any] | None]]:
    """The FM's replicas for the time of the block. No port is opened: callers reach them through Ray.

    Args:
        pointer: address of the latest pointer, as `pointer_at` takes it.

    Yields:
        the application's name, and in local mode the handle of the one replica inside this process.
    """
    resources, das = experiment.recipe.resources, experiment.recipe.das
    name = experiment.name
    deployment: Any = serve.deployment(
        FoundationModel,
        name="FoundationModel",
        num_replicas=resources.fm_replicas,
        max_ongoing_requests=REQUESTS_AT_ONCE,
        health_check_period_s=2,
        ray_actor_options={"num_cpus": 1, "num_gpus": resources.gpus_per_fm},
    )
    application = deployment.bind(experiment.snapshots.uri, pointer, das.model_dump(mode="json"))
    if resources.mode == "local":
        yield name, serve.run(application, name=name, route_prefix=None, _local_testing_mode=True)
        return
    serve.start(proxy_location="Disabled")
    serve.run(application, name=name, route_prefix=None)
    try:
        yield name, None
    finally:
        serve.delete(name)
