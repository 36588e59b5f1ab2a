"""What a recipe needs is compared with what there is before anything starts."""

import copy

import pytest

from exfm_ray.config import Recipe
from exfm_ray.data.dataset import Dataset, open_dataset
from exfm_ray.errors import UserError
from exfm_ray.models.build import build_model
from exfm_ray.preflight import check_memory, check_recipe, memory_mends, memory_needed
from exfm_ray.recipe import apply_edit
from tests.conftest import small_content


def test_a_vm_whose_parameters_do_not_fit_the_machine_is_told() -> None:
    recipe = Recipe.model_validate(small_content(seeds=[0, 1, 2], methods=["none", "ah"]))
    data = open_dataset(recipe.data)
    models = [build_model(vm.model, data.schema.for_vm(), tasks=1) for vm in recipe.vms]
    needed = 4 * max(model.parameter_count() for model in models)
    check_memory(recipe, data, needed)
    with pytest.raises(UserError, match=r"vms\.first\.model: its parameters take") as error:
        check_memory(recipe, data, needed - 1)
    assert "\n" not in str(error.value)
    assert "vms.first.model.embedding_dim: 3 would fit" in str(error.value)


def test_workers_that_hold_a_vm_each_need_its_memory_as_often() -> None:
    vms = [{"name": "wide", "model": {"type": "fam", "embedding_dim": 8}, "workers": 3}]
    recipe = Recipe.model_validate(small_content(vms=vms, resources={}))
    data = open_dataset(recipe.data)
    whole = memory_needed(recipe.vms[0], recipe, data.schema)
    alone = recipe.vms[0].model_copy(update={"workers": 1})
    assert whole == 3 * memory_needed(alone, recipe, data.schema)
    check_memory(recipe, data, whole)
    with pytest.raises(
        UserError, match=r"GiB in 3 workers together and this .* vms\.wide\.workers: 2 or vms\.wide\.model"
    ):
        check_memory(recipe, data, whole - 1)


@pytest.mark.parametrize("share", [0.95, 0.7, 0.45, 0.2])
def test_what_is_said_to_fit_the_machine_does(share: float) -> None:
    content = small_content()
    content["vms"] = content["vms"][:1]
    recipe = Recipe.model_validate(content)
    data, (vm,) = open_dataset(recipe.data), recipe.vms
    machine = int(memory_needed(vm, recipe, data.schema) * share)
    mends = list(memory_mends(vm, lambda other: memory_needed(other, recipe, data.schema) <= machine))
    assert mends or share < 0.3
    for mend in mends:
        mended = copy.deepcopy(content)
        apply_edit(mended, str(mend).replace(": ", "=", 1))
        assert fits(Recipe.model_validate(mended), data, machine), mend


def fits(recipe: Recipe, data: Dataset, machine_bytes: int) -> bool:
    try:
        check_memory(recipe, data, machine_bytes)
    except UserError:
        return False
    return True


def test_tables_that_are_counted_later_are_not_taken_for_large() -> None:
    hashed = Recipe.model_validate(small_content())
    counted = Recipe.model_validate(small_content(vocabulary={"min_count": 2}))
    data, least = open_dataset(hashed.data), 1
    while not fits(counted, data, least):
        least *= 2
    assert not fits(hashed, data, least)


def test_compiling_without_a_compiler_is_told_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    content = small_content()
    content["fm"]["optimizer"] = {"compile": True}
    recipe = Recipe.model_validate(content)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        UserError, match=r"fm\.optimizer\.compile: true needs a C\+\+ compiler, but there is no 'no-such"
    ):
        check_recipe(recipe, open_dataset(recipe.data))
