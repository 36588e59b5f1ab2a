"""What a run of Ray Train does when Ray Train gives up."""

from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

from exfm_ray.config import Recipe
from exfm_ray.errors import DataError
from exfm_ray.train import launch
from tests.conftest import claimed, small_content

A_WORKER_DIED = ControllerError(RayActorError())
"""while the controller asked something of it"""


class Trainers:
    """Stand for Ray Train: each run fails as it is told, those after that succeed."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.names = list(failures), list[str]()

    def __call__(self, *_: Any, run_config: Any, **__: Any) -> "Trainers":
        self.names.append(run_config.name)
        return self

    def fit(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


def train(trainers: Trainers, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two restarts at most."""
    monkeypatch.setattr(launch, "DataParallelTrainer", trainers)
    recipe = Recipe.model_validate(small_content(resources={"mode": "local", "max_failures": 2}))
    launch.train_foundation_model(claimed(recipe, root))


def test_another_run_takes_over_where_a_worker_dies_under_its_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers = Trainers(A_WORKER_DIED, RayActorError())
    train(trainers, tmp_path / "run", monkeypatch)
    assert len({*trainers.names}) == 3, "a name that was used before would bring back that run's own checkpoints"


def test_it_does_so_no_more_often_than_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainers = Trainers(*[A_WORKER_DIED] * 3)
    with pytest.raises(ControllerError):
        train(trainers, tmp_path / "run", monkeypatch)
    assert len(trainers.names) == 3


def test_what_no_restart_mends_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainers = Trainers(ControllerError(ValueError("not of Ray's processes")))
    with pytest.raises(ControllerError, match="not of Ray's processes"):
        train(trainers, tmp_path / "run", monkeypatch)
    assert len(trainers.names) == 1


def test_what_a_worker_raised_is_told_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = UserExceptionWithTraceback(DataError("day 3 is torn"), "Traceback …")
    trainers = Trainers(WorkerGroupError("rank 1: Traceback …", {1: raised}))
    with pytest.raises(DataError, match=r"^day 3 is torn$"):
        train(trainers, tmp_path / "run", monkeypatch)
