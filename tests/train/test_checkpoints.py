"""A training that is continued equals one that was never interrupted, bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch

from exfm_ray.config import (
    DeepFamModel,
    DistillConfig,
    DminModel,
    InterestGroup,
    ModelConfig,
    OptimizerConfig,
    VerticalModelConfig,
)
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.location import Location
from exfm_ray.distill.step import train_step
from exfm_ray.distill.student import Student
from exfm_ray.schema import Method, Schema
from exfm_ray.train.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
from exfm_ray.train.optimizers import build_optimizers
from tests.distill.test_distill import batches

PLAIN = DeepFamModel(embedding_dim=4, hidden=(8, 4))


class Training:
    """A student with optimizers, fed the same batches in the same order."""

    def __init__(
        self,
        method: Method,
        embedding: Literal["rowwise_adagrad", "adagrad", "lazy_adam"],
        schema: Schema,
        model: ModelConfig = PLAIN,
    ) -> None:
        config = OptimizerConfig(embedding=embedding)
        vm = VerticalModelConfig(name="vm", model=model, optimizer=config)
        self.student = Student(vm, DistillConfig(), method, schema.for_vm(), seed=1)
        self.optimizers = build_optimizers(config, self.student.dense_parameters(), self.student.table_parameters())
        self.adapter = None
        if self.student.adapter is not None:
            self.adapter = torch.optim.Adam(self.student.adapter_parameters(), lr=0.01, fused=True)

    def state_holders(self) -> dict[str, torch.optim.Optimizer]:
        return self.optimizers | ({"adapter": self.adapter} if self.adapter else {})

    def train(self, start: int, stop: int) -> None:
        for inputs, label, fm_prob in batches(stop)[start:]:
            train_step(self.student, inputs, label, fm_prob, list(self.optimizers.values()), self.adapter)


@pytest.mark.parametrize("embedding", ["rowwise_adagrad", "adagrad", "lazy_adam"])
@pytest.mark.parametrize("method", ["none", "kd", "ah", "ah_sa"])
def test_continued_equals_undisturbed(
    method: Method, embedding: Literal["rowwise_adagrad", "adagrad", "lazy_adam"], small_schema: Schema, tmp_path: Path
) -> None:
    check_continued(tmp_path, lambda: Training(method, embedding, small_schema))


def test_dropout_and_batch_norm_continue_too(small_schema: Schema, tmp_path: Path) -> None:
    model = PLAIN.model_copy(update={"dropout": 0.4, "batch_norm": True})
    check_continued(tmp_path, lambda: Training("ah_sa", "lazy_adam", small_schema, model))


def test_every_dropout_of_dmin_continues(small_schema: Schema, tmp_path: Path) -> None:
    model = DminModel(
        embedding_dim=4,
        groups=(InterestGroup(targets=("item",), sequences=("history",)),),
        heads=2,
        attention_hidden=(8,),
        hidden=(8, 4),
        attention_dropout=0.4,
        head_dropout=0.4,
        dropout=0.4,
    )
    check_continued(tmp_path, lambda: Training("ah_sa", "lazy_adam", small_schema, model))


def check_continued(tmp_path: Path, build: Callable[[], Training]) -> None:
    place = Location.of(str(tmp_path / "checkpoints"))
    undisturbed = build()
    undisturbed.train(0, 6)

    before = build()
    before.train(0, 3)
    save_checkpoint(place, 1, before.student, before.state_holders(), {"rows": 96}, Stopwatch.start())
    after = build()
    checkpoint = latest_checkpoint(place)
    assert checkpoint is not None
    assert checkpoint.about == {"day": 1, "rows": 96}
    load_checkpoint(place, checkpoint, after.student, after.state_holders())
    after.train(3, 6)
    for (name, one), other in zip(
        undisturbed.student.state_dict().items(), after.student.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_only_the_latest_state_is_kept(small_schema: Schema, tmp_path: Path) -> None:
    place = Location.of(str(tmp_path / "checkpoints"))
    training = Training("none", "lazy_adam", small_schema)
    for day in (9, 10, 11):
        save_checkpoint(place, day, training.student, training.state_holders(), {}, Stopwatch.start())
    assert [child.name for child in place.children()] == ["day=011"]


def test_there_is_no_state_at_first(tmp_path: Path) -> None:
    assert latest_checkpoint(Location.of(str(tmp_path / "none"))) is None
