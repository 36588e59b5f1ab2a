"""Variants stacked into one wider model: each learns what it learns by itself, but for rounding."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from exfm_ray.config import (
    AdapterConfig,
    DcnModel,
    DcnV2Model,
    DeepFamModel,
    DistillConfig,
    DminModel,
    FamModel,
    FmFamModel,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    VariantConfig,
    VerticalModelConfig,
)
from exfm_ray.data.batches import Batch
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.run_directory import Outcome
from exfm_ray.schema import METHODS, Method
from exfm_ray.simulation import produce
from exfm_ray.train import shared_pass
from exfm_ray.train.stack import STACKABLE, Stack, stacks_of, structure
from exfm_ray.train.team import ALONE, CPU, Team
from exfm_ray.train.variant import Variant
from exfm_ray.train.variants import train_variants
from tests.conftest import claimed, small_content
from tests.distill.test_distill import GROUPS
from tests.train.test_team import SCHEMA, whole_batches
from tests.train.test_variants import copied

MODELS: list[ModelConfig] = [
    FamModel(embedding_dim=4),
    DeepFamModel(embedding_dim=4, hidden=(8, 4)),
    DcnModel(embedding_dim=4, hidden=(8,)),
    DcnV2Model(embedding_dim=4, cross_layers=2, hidden=(8,)),
    FmFamModel(embedding_dim=4),
    FmFamModel(embedding_dim=4, interaction="vectorized"),
]
CLOSE = {"rtol": 1e-4, "atol": 2e-6}


def variant(model: ModelConfig, method: Method, number: int, **changes: Any) -> VariantConfig:
    """What sets it apart are numbers alone."""
    rates = {"learning_rate": 0.002 * (1 + number), "embedding_learning_rate": 0.02 * (1 + number)}
    distill = {
        "label_scale": 1 + number,
        "grad_scale": 1.5 * number,
        "loss_weight": 0.5 + number,
        "head_learning_rate": 0.01 * (1 + number),
        "adapter": AdapterConfig(learning_rate=0.01 * (1 + number), optimizer=changes.pop("adapter", "adam")),
    }
    optimizer = OptimizerConfig.model_validate({"batch_size": 256, "stack": True} | rates | changes)
    vm = VerticalModelConfig(
        name=f"vm_{number}", model=model, optimizer=optimizer, distill=DistillConfig.model_validate(distill)
    )
    return VariantConfig(vm=vm, method=method, seed=number)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Whose features are of all kinds; nothing is read of it."""
    return claimed(Recipe.model_validate(small_content()), tmp_path).model_copy(update={"data_schema": SCHEMA})


def trained(experiment: Experiment, configs: Sequence[VariantConfig], batches: Sequence[Batch]) -> list[Variant]:
    """One after the other."""
    variants = [Variant(experiment, config, CPU) for config in configs]
    for batch in batches:
        for one in variants:
            one.train(ALONE.part(batch))
    return variants


def left_by(one: Variant) -> dict[str, torch.Tensor]:
    """Parameters and optimizers' states, by name."""
    left = dict(one.student.state_dict())
    for kind, optimizer in one.all_optimizers().items():
        for index, state in optimizer.state_dict()["state"].items():
            left |= {f"{kind} {index} {key}": torch.as_tensor(value) for key, value in state.items()}
    return left


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model.type}")
def test_each_learns_in_a_stack_what_it_learns_alone(
    experiment: Experiment, model: ModelConfig, method: Method
) -> None:
    configs, batches = [variant(model, method, number) for number in range(3)], whole_batches()
    expected = trained(experiment, configs, batches)
    found = trained(experiment, configs, batches[:1])  # a stack goes on from the states of optimizers
    for some in (batches[1:3], batches[3:]):
        stack = Stack(found)
        for batch in some:
            stack.train(ALONE.part(batch))
        stack.put_back()
    start = [left_by(one) for one in trained(experiment, configs, [])]
    for own, other, before in zip(found, expected, start, strict=True):
        states, wanted = left_by(own), left_by(other)
        assert states.keys() == wanted.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(states[name], tensor, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")
        assert all(not torch.equal(before[name], states[name]) for name in before if name.endswith("table"))
    assert len({left_by(own)["model.embedding.table"].sum().item() for own in found}) == len(found)


@pytest.mark.parametrize("embedding", ["adagrad", "lazy_adam"])
@pytest.mark.parametrize("adapter", ["adagrad", "sgd"])
def test_with_every_optimizer(experiment: Experiment, embedding: str, adapter: str) -> None:
    configs = [variant(MODELS[1], "ah_sa", number, embedding=embedding, adapter=adapter) for number in range(2)]
    batches = whole_batches()
    expected, found = trained(experiment, configs, batches), trained(experiment, configs, [])
    for some in (batches[:2], batches[2:]):
        stack = Stack(found)
        for batch in some:
            stack.train(ALONE.part(batch))
        stack.put_back()
    for own, other in zip(found, expected, strict=True):
        states, wanted = left_by(own), left_by(other)
        assert states.keys() == wanted.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(states[name], tensor, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")


def test_what_a_variant_goes_on_with_by_itself_is_its_own(experiment: Experiment) -> None:
    configs, batches = [variant(MODELS[3], "ah_sa", number) for number in range(2)], whole_batches()
    found = trained(experiment, configs, [])
    stack = Stack(found)
    stack.train(ALONE.part(batches[0]))
    stack.put_back()
    left = left_by(found[0])
    stack.train(ALONE.part(batches[1]))
    assert all(torch.equal(left[name], tensor) for name, tensor in left_by(found[0]).items())
    found[0].train(ALONE.part(batches[1]))
    (expected, _) = trained(experiment, configs, batches[:2])
    for name, tensor in left_by(expected).items():
        torch.testing.assert_close(left_by(found[0])[name], tensor, **CLOSE, msg=name)


def test_only_numbers_may_set_variants_of_a_stack_apart(experiment: Experiment) -> None:
    deep = MODELS[1]
    configs = [
        variant(deep, "ah", 0),
        variant(deep, "ah_sa", 1),
        variant(deep, "ah", 2),
        variant(DeepFamModel(embedding_dim=4, hidden=(8,)), "ah", 3),
        variant(deep, "ah_sa", 4),
        variant(deep, "ah", 5, stack=False),
        variant(deep, "ah", 6, embedding="lazy_adam"),
        variant(deep, "ah", 7),
    ]
    variants = [Variant(experiment, config, CPU) for config in configs]
    assert stacks_of(variants) == ([3, 5, 6], [[0, 2, 7], [1, 4]])
    for one in variants:
        one.team = Team(0, 2)
    assert stacks_of(variants) == (list(range(8)), [])


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (DeepFamModel(embedding_dim=4, hidden=(8,), dropout=0.1), {}),
        (DeepFamModel(embedding_dim=4, hidden=(8,), batch_norm=True), {}),
        (DminModel(embedding_dim=4, heads=2, groups=GROUPS, hidden=(8,)), {}),
        (MODELS[1], {"precision": "bf16"}),
        (MODELS[1], {"compile": True}),
        (MODELS[1], {"stack": False}),
    ],
)
def test_what_cannot_be_stacked_trains_by_itself(model: ModelConfig, changes: dict[str, Any]) -> None:
    assert structure(variant(model, "ah", 0, **changes)) is None


def test_all_models_that_are_said_to_be_stackable_are_tried_here() -> None:
    assert {model.type for model in MODELS} == {*STACKABLE}
    assert all(structure(variant(model, "none", 0)) is not None for model in MODELS)


def test_a_run_with_stacks_gives_the_results_of_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.model_validate(small_content(methods=["none"]))
    made = claimed(recipe, tmp_path / "made")
    produce(made, open_dataset(recipe.data), None)
    numbers = [(method, number) for method in ("ah", "ah_sa") for number in range(3)]
    single, stacked = (
        [variant(MODELS[1], method, number, stack=stack) for method, number in numbers] for stack in (False, True)
    )
    sizes = []

    class Watched(Stack):
        def __init__(self, variants: Sequence[Variant]) -> None:
            sizes.append(len(variants))
            super().__init__(variants)

    monkeypatch.setattr(shared_pass, "Stack", Watched)
    lines = []
    for name, variants in (("single", single), ("stacked", stacked)):
        run = copied(made, tmp_path / name)
        train_variants(run, variants)
        lines.append([Outcome.model_validate_json(place.read()).line for place in run.outcome_files(variants)])
    assert sizes == [3, 3] * len(made.vm_days)
    assert len(lines[0]) == len(lines[1]) >= 6
    for one, other in zip(*lines, strict=True):
        assert one.keys() == other.keys()
        assert {key: one[key] for key in ("vm", "method", "seed", "eval_day", "rows", "positives")} == {
            key: other[key] for key in ("vm", "method", "seed", "eval_day", "rows", "positives")
        }
        for key in ("ne", "logloss", "auc", "calibration"):
            assert one[key] == pytest.approx(other[key], rel=1e-4)
