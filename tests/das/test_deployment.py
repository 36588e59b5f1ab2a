"""The FM as Serve runs it: in this process, and on Ray, where load makes it grow."""

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ray import serve

from exfm_ray.config import ResourcesConfig
from exfm_ray.das.deployment import deployment_options, foundation_model, serving
from exfm_ray.das.pointer import point_to
from exfm_ray.das.pointer_at import pointer_at
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.wire import from_bytes, to_bytes
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.errors import DataError
from exfm_ray.schema import Schema
from tests.das.live import Trainer, clients, experiment, rows, wait_until
from tests.das.scrape import samples

FAR = 1e12


@pytest.fixture
def run(tmp_path: Path) -> Experiment:
    """With two snapshots; the pointer names the first."""
    made = experiment(
        tmp_path / "run", {"poll_seconds": 0.02, "swap_timeout_seconds": 60, "batch_rows": 32}, {"mode": "local"}
    )
    trainer = Trainer(made, rows(made, 1))
    for day in (1, 2):
        trainer.publish(day)
    point_to(pointer_at(made.pointer), 1, 0.0, FAR)
    return made


@pytest.fixture
def handle(run: Experiment) -> Iterator[Any]:
    with serving(run, run.pointer) as (_, local):
        yield local


def test_a_pinned_day_is_answered_bit_for_bit_and_named(run: Experiment, handle: Any) -> None:
    table = rows(run, 100)
    for day in (1, 2, 1):
        point_to(pointer_at(run.pointer), day, 0.0, FAR)
        identity, answer = handle.predict.remote(to_bytes(table), day).result()
        assert identity == f"fm/day=00{day}"
        assert from_bytes(answer).equals(Predictor.load(SnapshotDatabase(run.snapshots), day).predict(table))


def test_precision_of_the_recipe_is_that_of_the_answers(tmp_path: Path) -> None:
    made = experiment(tmp_path / "run", {"poll_seconds": 0.02, "precision": "bf16"}, {"mode": "local"})
    Trainer(made, rows(made, 1)).publish(1)
    point_to(pointer_at(made.pointer), 1, 0.0, FAR)
    table, database = rows(made, 100), SnapshotDatabase(made.snapshots)
    with serving(made, made.pointer) as (_, handle):
        answer = from_bytes(handle.predict.remote(to_bytes(table), 1).result()[1])
    exact = Predictor.load(database, 1).predict(table)
    assert answer.schema.equals(exact.schema)
    assert not answer.equals(exact)
    np.testing.assert_allclose(answer.column(0).to_numpy(), exact.column(0).to_numpy(), atol=0.02)


def test_the_newest_answers_many_small_requests_and_a_large_one(run: Experiment, handle: Any) -> None:
    table = rows(run, 100)
    expected = Predictor.load(SnapshotDatabase(run.snapshots), 1).predict(table).column(0).to_numpy()
    cuts = [*range(0, 100, 7), 100]
    responses = [
        handle.predict.remote(to_bytes(table.slice(start, stop - start)), None) for start, stop in pairwise(cuts)
    ]
    responses.append(handle.predict.remote(to_bytes(table), None))
    answers = [response.result() for response in responses]
    assert {identity for identity, _ in answers} == {"fm/day=001"}
    parts = [from_bytes(answer).column(0).to_numpy() for _, answer in answers]
    np.testing.assert_allclose(np.concatenate(parts[:-1]), expected, atol=1e-5)
    np.testing.assert_allclose(parts[-1], expected, atol=1e-5)


def test_what_answers_describes_itself(run: Experiment, handle: Any) -> None:
    about = handle.describe.remote().result()
    assert about["snapshot"] == "fm/day=001"
    assert about["snapshot_day"] == 1
    assert about["tasks"] == ["click"]
    assert Schema.model_validate(about["inputs"]) == run.fm_traffic().schema


@pytest.mark.parametrize("day", [None, 1])
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda table: b"no rows", "not one Arrow IPC stream"),
        (lambda table: to_bytes(table)[:-20], "not one Arrow IPC stream"),
        (lambda table: to_bytes(table.drop_columns(["geo"])), "do not fit fm/day=001: .*geo"),
    ],
)
def test_rows_that_cannot_be_read_are_told(
    run: Experiment, handle: Any, spoil: Callable[[pa.Table], bytes], told: str, day: int | None
) -> None:
    with pytest.raises(DataError, match=told):
        handle.predict.remote(spoil(rows(run, 50)), day).result()
    assert handle.predict.remote(to_bytes(rows(run, 50)), day).result()[0] == "fm/day=001"


def test_a_snapshot_that_the_pointer_does_not_bring_is_told(run: Experiment) -> None:
    impatient = run.recipe.das.model_copy(update={"swap_timeout_seconds": 0.5})
    application = foundation_model(run, run.pointer, impatient, latest=False)
    handle: Any = serve.run(application, name=run.name, route_prefix=None, _local_testing_mode=True)

    def answer(day: int) -> str:
        try:
            return str(handle.predict.remote(to_bytes(rows(run, 5)), day).result()[0])
        except DataError as error:
            return str(error)

    wait_until(lambda: answer(1) == "fm/day=001", "the snapshot that the pointer names")
    assert answer(2) == "fm/day=001 answers, not that of day 2; no problem"


def test_replicas_are_fixed_or_grow() -> None:
    fixed = deployment_options(ResourcesConfig(fm_replicas=2))
    assert fixed["num_replicas"] == 2
    assert "autoscaling_config" not in fixed
    grows = deployment_options(ResourcesConfig(fm_replicas=2, fm_replicas_most=5))
    assert (grows["autoscaling_config"].min_replicas, grows["autoscaling_config"].max_replicas) == (2, 5)
    assert "num_replicas" not in grows
    assert fixed["max_queued_requests"] > 0


def test_a_replica_gets_its_part_of_a_gpu() -> None:
    assert deployment_options(ResourcesConfig())["ray_actor_options"] == {"num_cpus": 1}
    part = deployment_options(ResourcesConfig(gpus_per_fm=0.25))
    assert part["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 0.25}


def running(application: str) -> int:
    """Replicas of the FM that answer."""
    states = serve.status().applications[application].deployments["FoundationModel"].replica_states
    return int(states.get("RUNNING", 0))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_node")
def test_load_makes_a_second_replica_start_and_answer(tmp_path: Path) -> None:
    run = experiment(tmp_path / "run", {}, {"mode": "ray", "fm_replicas": 1, "fm_replicas_most": 2})
    table = rows(run, 64)
    trainer = Trainer(run, table)
    identity = trainer.publish(1)
    point_to(pointer_at(run.pointer), 1, 0.0, FAR)
    with serving(run, run.pointer) as (application, _):
        assert running(application) == 1
        loaded, end = clients(serve.get_app_handle(application), table, 16, pause_seconds=0.0), threading.Event()
        threads = [client.start(end) for client in loaded]
        try:
            wait_until(lambda: running(application) == 2, "a second replica")
            wait_until(lambda: len(answering(application)) == 2, "answers of both")
        finally:
            end.set()
            for thread in threads:
                thread.join()
    for client in loaded:
        assert client.failure is None
        for named, probabilities in client.answers:
            assert named == identity
            np.testing.assert_allclose(probabilities, trainer.expected[identity], atol=1e-5)


def answering(application: str) -> set[str]:
    """Replicas that have supervised rows."""
    return {sample.tags["replica"] for sample in samples("ray_exfm_das_rows_total", application)}
