"""An FM of a run on Ray Serve: a run directory, snapshots in it that differ in every parameter, and rows."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from ray.serve.handle import DeploymentHandle

from exfm_ray.config import Recipe
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.wire import from_bytes, to_bytes
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.run_directory import snapshot_identity
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.models.build import build_model
from exfm_ray.models.model import Model
from exfm_ray.schema import Feature
from tests.conftest import claimed, small_content

SECONDS = 120.0
"""after which a wait is a failure"""


def experiment(root: Path, das: dict[str, Any], resources: dict[str, Any], users: int = 500) -> Experiment:
    """A run of which only the FM's snapshots are made, by `publish`, with tables of 128 bytes per user."""
    model = {"type": "dcnv2", "embedding_dim": 16, "cross_layers": 2, "hidden": [64, 32]}
    content = small_content(fm={"model": model}, das=das, resources=resources)
    content["data"]["users"] = users
    return claimed(Recipe.model_validate(content), root)


class Trainer:
    """Publishes snapshots, and knows what each must say about the same rows."""

    def __init__(self, run: Experiment, rows: pa.Table) -> None:
        self._run, self._rows = run, rows
        self._schema, self._tasks = run.fm_traffic().schema, run.data_schema.tasks
        self._model: Model = build_model(run.recipe.fm.model, self._schema, len(self._tasks))
        self.expected: dict[str, NDArray[np.float32]] = {}
        """probabilities of the first task, by the snapshot's identity"""

    def publish(self, day: int) -> str:
        """Returns the snapshot's identity."""
        generator = torch.Generator().manual_seed(day)
        with torch.no_grad():
            for parameter in self._model.parameters():
                parameter.normal_(std=0.3, generator=generator)
        facts = SnapshotFacts(
            model=self._run.recipe.fm.model,
            inputs=self._schema,
            tasks=self._tasks,
            trained_through=day,
            rows_seen=day,
            parameters=self._model.parameter_count(),
        )
        SnapshotDatabase(self._run.snapshots).publish(self._model, facts, rows=1, stopwatch=Stopwatch.start())
        identity = snapshot_identity(self._run.snapshots, day)
        predictor = Predictor(day, identity, self._schema, self._tasks, self._model, torch.device("cpu"))
        self.expected[identity] = predictor.predict(self._rows).column(0).to_numpy()
        return identity


def rows(run: Experiment, count: int) -> pa.Table:
    """Rows that the run's FM can read."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 5, count)
    offsets = pa.array(np.concatenate([[0], lengths.cumsum()]), pa.int32())

    def column(feature: Feature) -> pa.Array:
        if feature.kind == "numeric":
            return pa.array(generator.random(count).astype(np.float32))
        if feature.kind == "sequence":
            return pa.ListArray.from_arrays(offsets, pa.array(generator.integers(0, 90, int(lengths.sum()))))
        return pa.array(generator.integers(0, feature.rows, count))

    return pa.table({feature.name: column(feature) for feature in run.fm_traffic().schema.features})


@dataclass
class Client:
    """Asks for the newest snapshot's opinion on the same rows, again and again: the next once the last is answered."""

    handle: DeploymentHandle[Any]
    request: bytes
    pause_seconds: float
    phase: str = ""
    """under which latencies are noted"""
    latencies: dict[str, list[float]] = field(default_factory=dict)
    """seconds, by phase"""
    answers: list[tuple[str, NDArray[np.float32]]] = field(default_factory=list)
    """identity, and probabilities of the first task"""
    failure: BaseException | None = None

    def start(self, end: threading.Event) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(end,))
        thread.start()
        return thread

    def _run(self, end: threading.Event) -> None:
        try:
            while not end.wait(self.pause_seconds):
                phase, started = self.phase, time.perf_counter()
                identity, answer = self.handle.predict.remote(self.request, None).result(timeout_s=SECONDS)
                self.latencies.setdefault(phase, []).append(time.perf_counter() - started)
                self.answers.append((identity, from_bytes(answer).column(0).to_numpy()))
        except BaseException as error:
            self.failure = error


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Fails where it does not come true in time."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, f"not within {SECONDS:g} s: {what}"
        time.sleep(0.02)


def clients(handle: DeploymentHandle[Any], table: pa.Table, count: int, pause_seconds: float) -> list[Client]:
    return [Client(handle, to_bytes(table), pause_seconds) for _ in range(count)]
