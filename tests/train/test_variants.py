"""Variants that share a pass over the rows: each gives what it gives alone, whatever the others are."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load

from exfm_ray.config import (
    DcnModel,
    DeepFamModel,
    DistillConfig,
    FamModel,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    VariantConfig,
    VerticalModelConfig,
)
from exfm_ray.data.commit import read_file, require
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import Outcome, RunDirectory, variant_name
from exfm_ray.errors import DataError
from exfm_ray.schema import METHODS
from exfm_ray.simulation import produce, write_results
from exfm_ray.train.kept_passes import KeptPasses
from exfm_ray.train.launch import train_vertical_models
from exfm_ray.train.shared_pass import SharedPass
from exfm_ray.train.variants import CPU, MOST_VARIANTS, by_rows, grouped, train_variants
from tests.conftest import claimed, small_content

DEEP = DeepFamModel(embedding_dim=4, hidden=(8, 4), dropout=0.3, batch_norm=True)


def variant(name: str, model: ModelConfig, method: Any = "ah_sa", seed: int = 0, **changes: Any) -> VariantConfig:
    optimizer = changes.pop("optimizer", OptimizerConfig(batch_size=256))
    vm = VerticalModelConfig(name=name, model=model, optimizer=optimizer, **changes)
    return VariantConfig(vm=vm, method=method, seed=seed)


MANY = [
    *(variant("deep", DEEP, method, seed=3) for method in METHODS),
    *(variant("fam", FamModel(embedding_dim=8), method) for method in METHODS),
    variant("strong", DEEP, "ah", distill=DistillConfig(label_scale=2.0, grad_scale=5.0, loss_weight=0.5)),
    variant("quick", DcnModel(embedding_dim=4, hidden=(8,)), "kd", optimizer=OptimizerConfig(
        learning_rate=0.01, embedding="adagrad", embedding_learning_rate=0.05, batch_size=256
    )),
    variant("rounded", DEEP, "ah", optimizer=OptimizerConfig(batch_size=256, precision="bf16")),
    variant("other_batch", FamModel(embedding_dim=4), optimizer=OptimizerConfig(batch_size=100)),
    variant("other_rows", FamModel(embedding_dim=4), domain=1),
]  # fmt: skip


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A run that has made all that variants read; its own VMs are trained too."""
    recipe = Recipe.model_validate(small_content(methods=["none"]))
    experiment = claimed(recipe, tmp_path_factory.mktemp("supervised"))
    produce(experiment, open_dataset(recipe.data), None)
    return experiment


def copied(experiment: Experiment, root: Path) -> Experiment:
    """Its days and supervision in another run directory, where no VM is trained."""
    shutil.copytree(
        experiment.root, root, ignore=shutil.ignore_patterns("checkpoints", "results", "first-*", "second-*")
    )
    run = RunDirectory(Location.of(str(root)))
    return experiment.model_copy(update={"root": run.root.uri, "dataset": run.days.uri})


def state(experiment: Experiment, variant: VariantConfig) -> dict[str, Any]:
    """All that a variant leaves: results lines, and tensors of its checkpoint and its snapshots, as bytes."""
    name = variant_name(variant.vm.name, variant.method, variant.seed)
    left: dict[str, Any] = {}
    for place in experiment.outcome_files([variant]):
        left[place.name] = json.dumps(Outcome.model_validate_json(place.read()).line)
    for kind in (experiment.run.checkpoints(name), experiment.run.snapshots(name)):
        for day in kind.children():
            for file in require(day).files:
                content = read_file(day, file)
                tensors = load(content) if file.name.endswith(".safetensors") else {"": content}
                for key, value in tensors.items():
                    left[f"{kind.uri.split('/')[-2]} {day.name} {key}"] = (
                        value if isinstance(value, bytes) else (value.dtype, value.shape, value.numpy().tobytes())
                    )
    return left


def alone(experiment: Experiment, variants: Sequence[VariantConfig]) -> list[dict[str, Any]]:
    for one in variants:
        train_variants(experiment, [one])
    return [state(experiment, one) for one in variants]


def test_each_gives_in_company_what_it_gives_alone(supervised: Experiment, tmp_path: Path) -> None:
    together = copied(supervised, tmp_path / "together")
    train_variants(together, MANY)
    expected = alone(copied(supervised, tmp_path / "alone"), MANY)
    for one, own in zip(MANY, expected, strict=True):
        assert len(own) > 10, "lines, a checkpoint and snapshots"
        assert state(together, one) == own, one.vm.name
    different = {json.dumps(sorted(own.items()), default=str) for own in expected}
    assert len(different) == len(MANY)


def test_models_that_are_not_kept_between_their_days_give_the_same(supervised: Experiment, tmp_path: Path) -> None:
    resources = supervised.recipe.resources.model_copy(update={"kept_gib": 0})
    forgetful = supervised.model_copy(update={"recipe": supervised.recipe.model_copy(update={"resources": resources})})
    runs = [copied(supervised, tmp_path / "kept"), copied(forgetful, tmp_path / "forgotten")]
    for run in runs:
        train_variants(run, MANY[1:4])
    kept, forgotten = ([state(run, one) for one in MANY[1:4]] for run in runs)
    assert forgotten == kept


def test_a_worker_keeps_as_much_as_it_may(supervised: Experiment, tmp_path: Path) -> None:
    experiment = copied(supervised, tmp_path / "run")
    groups = [[one] for one in MANY[4:8]]
    one = SharedPass(experiment, groups[0], CPU).bytes
    resources = supervised.recipe.resources.model_copy(update={"kept_gib": 2.5 * one / 2**30})
    recipe = supervised.recipe.model_copy(update={"resources": resources})
    kept = KeptPasses(experiment.model_copy(update={"recipe": recipe}), groups, CPU)
    day = supervised.vm_days[0]
    passes = [kept.ready_for(group, day) for group in range(3)]
    assert kept.ready_for(1, day) is passes[1]
    assert kept.ready_for(2, day) is passes[2]
    assert kept.ready_for(3, day) is not passes[0]
    assert kept.ready_for(0, day) is not passes[0], "the one that was not used for longest"


def test_a_group_that_another_worker_trained_is_read_again(supervised: Experiment, tmp_path: Path) -> None:
    experiment = copied(supervised, tmp_path / "run")
    first, second = supervised.vm_days[:2]
    here, there = (KeptPasses(experiment, [MANY[:2]], CPU) for _ in range(2))
    here.ready_for(0, first).live_through(first)
    there.ready_for(0, second).live_through(second)
    assert [one.trained_through for one in here.ready_for(0, second + 1).variants] == [second, second]


def test_groups_are_no_larger_than_memory_should_hold(supervised: Experiment) -> None:
    members = [variant("fam", FamModel(embedding_dim=4), seed=seed) for seed in range(20)]
    groups = grouped(supervised, [*members, MANY[-1]], 2)
    assert max(map(len, groups)) == MOST_VARIANTS
    tight = supervised.recipe.resources.model_copy(update={"kept_gib": 0})
    recipe = supervised.recipe.model_copy(update={"resources": tight})
    assert {len(group) for group in grouped(supervised.model_copy(update={"recipe": recipe}), members, 2)} == {1}
    assert len({len(group) for group in groups}) > 1
    assert sorted(one.seed for group in groups for one in group if one.vm.name == "fam") == list(range(20))


def test_those_that_read_the_same_rows_in_the_same_batches_share_a_pass(supervised: Experiment) -> None:
    groups = by_rows(supervised, MANY)
    assert groups == [MANY[:-2], MANY[-2:-1], MANY[-1:]]


def test_variants_of_a_pass_go_on_from_different_days(supervised: Experiment, tmp_path: Path) -> None:
    undisturbed, resumed = copied(supervised, tmp_path / "undisturbed"), copied(supervised, tmp_path / "resumed")
    members = MANY[2:6]
    train_variants(undisturbed, members)
    first, second = supervised.vm_days[:2]
    ahead = SharedPass(resumed, members[:2], CPU)
    ahead.live_through(first)
    ahead.live_through(second)
    SharedPass(resumed, members[1:3], CPU).live_through(first)
    trained = {
        one.config.vm.name + one.method: one.trained_through for one in SharedPass(resumed, members, CPU).variants
    }
    assert sorted(trained.values()) == [first - 1, first, second, second]
    train_variants(resumed, members)
    for one in members:
        assert state(resumed, one) == state(undisturbed, one), one


def test_variants_of_no_recipe_run_on_ray_train_too(supervised: Experiment, tmp_path: Path) -> None:
    direct, launched = copied(supervised, tmp_path / "direct"), copied(supervised, tmp_path / "launched")
    members = [MANY[0], MANY[9]]
    train_variants(direct, members)
    train_vertical_models(launched, 1, members)
    assert [state(launched, one) for one in members] == [state(direct, one) for one in members]


def test_two_configurations_of_one_name_are_refused(supervised: Experiment, tmp_path: Path) -> None:
    experiment = copied(supervised, tmp_path / "run")
    one, other = variant("vm", DEEP), variant("vm", FamModel(embedding_dim=4))
    with pytest.raises(ValueError, match=r"repeat name, method and seed: \[\('vm', 'ah_sa', 0\)\]"):
        train_variants(experiment, [one, other])
    SharedPass(experiment, [one], CPU).live_through(supervised.vm_days[0])
    with pytest.raises(DataError, match="is the state of another configuration"):
        train_variants(experiment, [other])


def test_vms_of_a_recipe_share_a_pass_and_its_results_are_those_of_each_alone(tmp_path: Path) -> None:
    vms = [
        {"name": "first", "domain": 0, "model": DEEP.model_dump()},
        {"name": "second", "domain": 0, "model": {"type": "fam", "embedding_dim": 4}},
        # of the same domain: which rows the FM sees beside a row may change that row's last bit
        {"name": "third", "domain": 0, "model": DEEP.model_dump(), "optimizer": {"batch_size": 64}},
    ]
    together = lines(small_content(vms=vms, seeds=[0, 1], methods=["none", "ah_sa"]), tmp_path / "together")
    assert len(together) == 3 * 2 * 2 * 2
    for vm in vms[:2]:
        alone = lines(small_content(vms=[vm], seeds=[1], methods=["ah_sa"]), tmp_path / f"alone-{vm['name']}")
        assert alone == [
            line for line in together if (line["vm"], line["seed"], line["method"]) == (vm["name"], 1, "ah_sa")
        ]


def lines(content: dict[str, Any], root: Path) -> list[dict[str, Any]]:
    recipe = Recipe.model_validate(content)
    experiment = claimed(recipe, root)
    produce(experiment, open_dataset(recipe.data), None)
    write_results(experiment)
    return RunDirectory(experiment.run.root).results()
