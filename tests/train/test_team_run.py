"""Models with two workers each, on Ray Train: the numbers of one worker but for rounding, whoever dies on the way."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from exfm_ray.cluster import ray_cluster
from exfm_ray.config import Recipe, VariantConfig
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.run_directory import Outcome
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.report.results import read_results
from exfm_ray.report.work import read_work, timeline
from exfm_ray.simulation import produce, write_results
from exfm_ray.train.launch import train_foundation_model, train_with_several_workers
from tests.conftest import claimed, small_content
from tests.train.test_variants import copied, state

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

TOLERANCE = 1e-6
"""relative, of NE and LogLoss: what rounding makes of some dozens of steps is a hundredth of it"""


def content(workers: int, fm_workers: int = 1, **resources: Any) -> dict[str, Any]:
    (vm, _) = small_content()["vms"]
    fm = small_content()["fm"] | {"workers": fm_workers}
    vms = [vm | {"workers": workers, "optimizer": {"batch_size": 100}}]
    return small_content(vms=vms, fm=fm, methods=["none", "ah_sa"], resources=resources)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A finished run with one worker per model, in this process."""
    recipe = Recipe.model_validate(content(1, mode="local"))
    experiment = claimed(recipe, tmp_path_factory.mktemp("alone"))
    produce(experiment, open_dataset(recipe.data), None)
    return experiment


@pytest.fixture(scope="module")
def ray_of_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recipe]:
    """Ray, for a recipe whose models have two workers each."""
    recipe = Recipe.model_validate(content(2, 2, wait_timeout_seconds=300))
    with ray_cluster(recipe, None, tmp_path_factory.mktemp("logs")):
        yield recipe


def beginning(alone: Experiment, recipe: Recipe, root: Path) -> Experiment:
    """A run with days and supervision as `alone` has them, and no VM."""
    return copied(alone, root).model_copy(update={"recipe": recipe})


def killing(train: Callable[[], None], note: Path, held: Path) -> None:
    """Train, and kill the process that made a note once it is there.

    Args:
        held: what the training needs next, which comes only after that; so it is not over before.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            train()
        except BaseException as error:
            failures.append(error)

    aside = note.parents[3] / f"aside-{held.name}"
    held.rename(aside)
    thread = threading.Thread(target=run)
    thread.start()
    while not note.exists():
        assert thread.is_alive(), failures
        time.sleep(0.02)
    os.kill(maker(note), signal.SIGKILL)
    aside.rename(held)
    thread.join()
    assert not failures


def maker(file: Path) -> int:
    process = json.loads(file.read_text())["made"]["process"]
    assert isinstance(process, int)
    return process


def lines(experiment: Experiment, variant: VariantConfig) -> list[dict[str, Any]]:
    return [Outcome.model_validate_json(place.read()).line for place in experiment.outcome_files([variant])]


@pytest.fixture(scope="module")
def together(alone: Experiment, ray_of_two: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The VM's variants, trained by two workers whom nothing has disturbed."""
    experiment = beginning(alone, ray_of_two, tmp_path_factory.mktemp("together") / "run")
    train_with_several_workers(experiment, ray_of_two.vms[0])
    return experiment


def test_two_workers_give_the_numbers_of_one(alone: Experiment, together: Experiment) -> None:
    for own, other in zip(alone.recipe.variants(), together.recipe.variants(), strict=True):
        for one, two in zip(lines(alone, own), lines(together, other), strict=True):
            assert one.keys() == two.keys()
            assert one != two, "sums over parts round otherwise"
            for key, value in one.items():
                assert two[key] == (pytest.approx(value, rel=TOLERANCE) if isinstance(value, float) else value), key


def test_what_both_workers_did_is_in_the_timeline(together: Experiment) -> None:
    write_results(together)
    spans = timeline(read_work(together.run, read_results(together.run)))
    worked = {span.lane for span in spans if span.kind == "vm_training"}
    assert len(worked) == len({span.lane for span in spans if span.kind == "vm_evaluation"} | worked) == 2
    assert {lane.split(",")[0] for lane in worked} == {"VMs"}


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["first", "second"])
def test_whoever_dies_they_go_on_to_the_same_bytes(
    victim: str, alone: Experiment, together: Experiment, ray_of_two: Recipe, tmp_path: Path
) -> None:
    root = tmp_path / "run"
    experiment = beginning(alone, ray_of_two, root)
    day = f"day={experiment.vm_days[0]:03d}"
    snapshot = root / "snapshots" / "first-none-seed0" / day / "manifest.json"
    note = root / "help" / "first-none-seed0" / f"{day}-vm_training-worker1.json"
    file = snapshot if victim == "first" else note
    held = root / "supervision" / "fm" / f"day={experiment.vm_days[1]:03d}"
    killing(lambda: train_with_several_workers(experiment, ray_of_two.vms[0]), file, held)
    for variant in ray_of_two.variants():
        left = state(experiment, variant)
        assert len(left) > 10
        assert left == state(together, variant), variant.method


@pytest.mark.slow
def test_an_fm_with_two_workers_is_that_of_one_though_one_dies(
    alone: Experiment, ray_of_two: Recipe, tmp_path: Path
) -> None:
    root = tmp_path / "run"
    experiment = claimed(ray_of_two, root)
    (root / "days").mkdir()
    for day in range(1, 5):
        os.symlink(Path(alone.dataset) / f"day={day:03d}", root / "days" / f"day={day:03d}")
    note = root / "help" / "fm" / "day=001-fm-worker1.json"
    killing(lambda: train_foundation_model(experiment), note, root / "days" / "day=002")
    for day in experiment.fm_days:
        (one, _), (two, _) = (SnapshotDatabase(run.snapshots).load(day) for run in (alone, experiment))
        for (name, value), other in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
            torch.testing.assert_close(
                other, value, rtol=1e-3, atol=1e-5, msg=lambda told, name=name: f"{name}: {told}"
            )
