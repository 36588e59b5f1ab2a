"""The FM as an actor-backed Ray Serve deployment."""

import asyncio
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pyarrow as pa
from ray import serve
from ray.serve.config import AutoscalingConfig
from ray.serve.deployment import Application
from ray.serve.handle import DeploymentHandle

from exfm_ray.cluster import start_mend
from exfm_ray.computing import begin_computing
from exfm_ray.config import DasConfig, ResourcesConfig
from exfm_ray.config.placement import Placement
from exfm_ray.das.batching import Answer, BusyError, RowBatcher
from exfm_ray.das.expected import Expected
from exfm_ray.das.health import Health
from exfm_ray.das.loader import SnapshotLoader
from exfm_ray.das.metrics import ReplicaMetrics
from exfm_ray.das.node_cache import NodeCache
from exfm_ray.das.pointer_at import pointer_at
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.state_reader import StateReader
from exfm_ray.das.updater import Updater
from exfm_ray.das.watched_pointer import WatchedPointer
from exfm_ray.das.wire import from_bytes, to_bytes, with_seconds
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_clock import note_start
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.errors import DataError
from exfm_ray.waits import noted_wait, within

REQUESTS_AT_ONCE = 64
"""per replica; what they may hold is bounded by rows, `das.queued_rows`"""
REQUESTS_WAITING = 1_024
"""per calling process, for a replica that has room; Serve turns away those beyond"""
REQUESTS_PER_REPLICA = 4.0
"""beyond this mean, replicas are added: one is computed, and some wait to fill the next batch"""
GROW_AFTER_SECONDS, SHRINK_AFTER_SECONDS = 5.0, 120.0
"""of too much or too little load: a replica takes as long to start as it is waited for, and long to be missed"""
LOAD_SECONDS = 12.0
"""over which load is averaged; Serve's callers report theirs every 10 seconds, and it wants more than that"""
SWITCH_SECONDS = 0.0005
"""after which a thread hands over the interpreter's lock. A prediction takes it anew for each of its operations, and
would wait for the usual 5 ms each time while the loader's thread holds it"""
HEALTH_CHECK_SECONDS = 2.0
STUCK_SECONDS = 60.0
"""for at most `das.batch_rows` rows, or one pinned request"""


class FoundationModel:
    """One replica. All are equal: each follows the pointer by itself.

    Args:
        snapshots: URI of the FM's snapshot database.
        pointer: address of the latest pointer, as `pointer_at` takes it.
        das: a `DasConfig` as JSON values.
        expected: inputs and tasks of its snapshots; others are refused.
        latest: whether the replica moves the pointer to what is published (live operation), or somebody else does.
    """

    def __init__(self, snapshots: str, pointer: str, das: dict[str, Any], expected: Expected, latest: bool) -> None:
        begin_computing()
        sys.setswitchinterval(SWITCH_SECONDS)
        self._das = DasConfig.model_validate(das)
        database, followed = SnapshotDatabase(Location(snapshots)), WatchedPointer(pointer_at(pointer))
        cache, lease = NodeCache(), self._das.lease_seconds
        self._loader = SnapshotLoader(database, followed, lease, time.time, expected, cache, self._das.precision)
        updater = Updater(database, followed, lease, time.time, expected, cache) if latest else None
        follower = self._loader.follow(self._das.poll_seconds, updater)
        # torch computes in one thread, so that the event loop goes on answering health checks
        compute = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")
        self._metrics = ReplicaMetrics()
        self._batcher = RowBatcher(
            self._newest,
            compute,
            self._das.batch_rows,
            self._das.batch_wait_seconds,
            self._das.queued_rows,
            self._metrics,
        )
        self._health = Health(follower, compute, STUCK_SECONDS, time.monotonic)
        self._state = StateReader(self._loader, followed, database, time.time)
        self._telling: asyncio.Future[None] | None = None

    async def predict(self, rows: bytes | pa.Buffer, snapshot_day: int | None) -> tuple[str, bytes]:
        """Supervise rows.

        Args:
            rows: Arrow IPC with the snapshot's features.
            snapshot_day: exactly the snapshot of this day answers, with no other rows beside these (pinned mode);
                None: the newest that is loaded, small requests together (latest mode).

        Returns:
            the identity of the snapshot that made this answer, and Arrow IPC with `fm_<task>` per row, whose metadata
            says how many seconds the work took, without any waiting.

        Raises:
            BusyError: too many rows wait; ask again later.
            DataError: the rows do not fit the snapshot, or the pointer did not bring that snapshot here within
                `swap_timeout_seconds`.
        """
        started = time.monotonic()
        try:
            answer = await self._answer(rows, snapshot_day)
        except BusyError:
            raise  # counted where it is refused
        except Exception:
            self._metrics.failed()
            raise
        self._metrics.answered(answer.rows.num_rows, time.monotonic() - started)
        return answer.identity, to_bytes(with_seconds(answer.rows, answer.seconds))

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

    async def check_health(self) -> None:
        """Asked by Serve, which replaces a replica that raises. Tells the metrics on the way, without waiting for it.

        Raises:
            UnhealthyError: a thread is dead or stuck.
        """
        self._health.check()
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().run_in_executor(None, self._tell_state)

    def _tell_state(self) -> None:
        self._metrics.state(self._state.read())

    async def _answer(self, rows: bytes | pa.Buffer, snapshot_day: int | None) -> Answer:
        try:
            table = from_bytes(rows)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"the rows are not one Arrow IPC stream: {error}") from error
        predictor = await self._predictor(snapshot_day)
        return await self._batcher.predict(table, None if snapshot_day is None else predictor)

    def _newest(self) -> Predictor:
        predictor = self._loader.current
        assert predictor is not None, "asked only after a first snapshot was there, and none is ever taken away"
        return predictor

    async def _predictor(self, snapshot_day: int | None) -> Predictor:
        deadline = time.monotonic() + self._das.swap_timeout_seconds
        while (predictor := self._loader.current) is None or snapshot_day not in (None, predictor.snapshot_day):
            if time.monotonic() > deadline:
                now = predictor.identity if predictor else "no snapshot"
                asked = "any" if snapshot_day is None else f"that of day {snapshot_day}"
                raise DataError(f"{now} answers, not {asked}; {self._loader.problem or 'no problem'}")
            await asyncio.sleep(self._das.poll_seconds / 4)
        return predictor


def actor_options(placement: Placement) -> dict[str, Any]:
    """What a replica takes, and where, as Serve takes it."""
    options: dict[str, Any] = {"num_cpus": 1}
    if placement.gpus:
        options["num_gpus"] = placement.gpus
    if placement.accelerator:
        options["accelerator_type"] = placement.accelerator
    if placement.custom:
        options["resources"] = placement.custom
    return options


def deployment_options(resources: ResourcesConfig) -> dict[str, Any]:
    """How Serve runs the FM: how many replicas, what each has, and what may wait."""
    options: dict[str, Any] = {
        "max_ongoing_requests": REQUESTS_AT_ONCE,
        "max_queued_requests": REQUESTS_WAITING,
        "health_check_period_s": HEALTH_CHECK_SECONDS,
        "ray_actor_options": actor_options(resources.fm_placement),
    }
    if resources.fm_replicas_most is None:
        return options | {"num_replicas": resources.fm_replicas}
    scaling = AutoscalingConfig(
        min_replicas=resources.fm_replicas,
        max_replicas=resources.fm_replicas_most,
        target_ongoing_requests=REQUESTS_PER_REPLICA,
        look_back_period_s=LOAD_SECONDS,
        upscale_delay_s=GROW_AFTER_SECONDS,
        downscale_delay_s=SHRINK_AFTER_SECONDS,
    )
    return options | {"autoscaling_config": scaling}


def foundation_model(experiment: Experiment, pointer: str, das: DasConfig, *, latest: bool) -> Application:
    """The FM of a run, ready to be deployed under its class's name.

    Args:
        pointer: address of the latest pointer, as `pointer_at` takes it.
        das: the recipe's, or a change of it.
        latest: whatever is published last answers (live operation), or what somebody points to (simulations).
    """
    expected = Expected.of(experiment.fm_traffic().schema, experiment.data_schema.tasks)
    options = deployment_options(experiment.recipe.resources)
    deployment: Any = serve.deployment(FoundationModel, name=FoundationModel.__name__, **options)
    application: Application = deployment.bind(
        experiment.snapshots.uri, pointer, das.model_dump(mode="json"), expected, latest
    )
    return application


def run_until_ready(application: Application, name: str, route_prefix: str | None, resources: ResourcesConfig) -> None:
    """Deploy an application with the FM, and return once its replicas answer.

    Raises:
        WaitError: they still do not after the recipe's time; Serve itself would wait for ever.
    """
    count = f"{resources.fm_replicas} replicas" if resources.fm_replicas > 1 else "a replica"
    share = f" and {resources.gpus_per_fm:g} GPUs" if resources.gpus_per_fm else ""
    what = f"{count} of the FM (1 CPU{share}{' each' if resources.fm_replicas > 1 else ''})"
    run = partial(serve.run, application, name=name, route_prefix=route_prefix)
    with noted_wait(what):
        within(resources.start_timeout_seconds, what, start_mend, run)


@contextmanager
def serving(experiment: Experiment, pointer: str) -> Iterator[tuple[str, DeploymentHandle[Any] | None]]:
    """The FM's replicas for the time of the block. No port is opened: callers reach them through Ray.

    Args:
        pointer: address of the latest pointer, as `pointer_at` takes it.

    Yields:
        the application's name, and in local mode the handle of the one replica inside this process.
    """
    name = experiment.name
    application = foundation_model(experiment, pointer, experiment.recipe.das, latest=False)
    if experiment.recipe.resources.mode == "local":
        yield name, serve.run(application, name=name, route_prefix=None, _local_testing_mode=True)
        return
    asked = Stopwatch(time.time())
    serve.start(proxy_location="Disabled")
    try:
        run_until_ready(application, name, None, experiment.recipe.resources)
        note_start(experiment.run, "serve", "serve", asked)
        yield name, None
    finally:
        serve.delete(name)


def withdraw(experiment: Experiment) -> None:
    """End the replicas that `serving` began, where its block is not left; nothing happens where there are none."""
    with suppress(Exception):  # the failure that led here is the one to tell
        if experiment.name in serve.status().applications:
            serve.delete(experiment.name, _blocking=False)
