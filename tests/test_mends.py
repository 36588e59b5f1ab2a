"""What a message proposes does fit, and nothing nearer to what was asked for does."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exfm_ray.config import Recipe, ResourcesConfig
from exfm_ray.errors import UserError
from exfm_ray.mends import Mend, fewer_gpus, first_fit, mend_words, resource_mends
from exfm_ray.needs import check_cpus, check_gpus
from tests.conftest import small_content

Check = Callable[[Recipe, int, Any], None]
GPUS = st.sampled_from([0, 0.1, 0.25, 0.3, 0.5, 0.75, 1, 2, 4])
RESOURCES = st.fixed_dictionaries(
    {
        "fm_replicas": st.integers(1, 6),
        "fleet_workers": st.integers(1, 8),
        "augment_tasks": st.integers(1, 20),
        "gpus_per_fm": GPUS,
        "gpus_per_vm": GPUS,
    }
)


def a_recipe(resources: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(small_content(resources=resources))


def complaint(check: Check, recipe: Recipe, has: Any) -> str | None:
    """A check's words, or None where the recipe passes."""
    workers = recipe.resources.fleet_workers
    assert isinstance(workers, int)
    try:
        check(recipe, workers, has)
    except UserError as error:
        return str(error)
    return None


def proposals(check: Check, recipe: Recipe, has: Any) -> list[Mend]:
    def fits(resources: ResourcesConfig) -> bool:
        return complaint(check, recipe.model_copy(update={"resources": resources}), has) is None

    workers = recipe.resources.fleet_workers
    assert isinstance(workers, int)
    return list(resource_mends(recipe.resources, workers, fits))


def proposals_hold(check: Check, resources: dict[str, Any], has: Any) -> None:
    """Each of them passes the check once it stands in the recipe, the next higher value does not, and they are told."""
    recipe = a_recipe(resources)
    told = complaint(check, recipe, has)
    if told is None:
        return
    mends = proposals(check, recipe, has)
    assert mend_words(mends, "add") in told
    for mend in mends:
        field = mend.path.removeprefix("resources.")
        assert mend.value < resources[field]
        assert complaint(check, a_recipe(resources | {field: mend.value}), has) is None
        if isinstance(mend.value, int) and mend.value + 1 < resources[field]:
            assert complaint(check, a_recipe(resources | {field: mend.value + 1}), has) is not None


@settings(max_examples=60, deadline=None)
@given(RESOURCES, st.integers(1, 16))
def test_proposals_for_too_few_cpus_hold(resources: dict[str, Any], cpus: int) -> None:
    proposals_hold(check_cpus, resources, cpus)


@settings(max_examples=60, deadline=None)
@given(RESOURCES, st.lists(st.integers(0, 8), max_size=4))
def test_proposals_for_too_few_gpus_hold(resources: dict[str, Any], nodes: list[int]) -> None:
    proposals_hold(check_gpus, resources, nodes)


def test_the_first_that_fits_is_found() -> None:
    assert first_fit([5, 4, 3, 2, 1], lambda value: value <= 3) == 3
    assert first_fit([5, 4], lambda value: True) == 5
    assert first_fit([5, 4], lambda value: value < 4) is None
    assert first_fit([], lambda value: True) is None


def test_fewer_gpus_are_whole_ones_then_equal_parts_then_none() -> None:
    assert fewer_gpus(2)[:4] == [1.0, 0.5, 0.3333, 0.25]
    assert fewer_gpus(0.5)[:2] == [0.3333, 0.25]
    assert fewer_gpus(0.001) == [0.0]
    assert fewer_gpus(0) == []


@pytest.mark.parametrize(
    ("mends", "told"),
    [
        ([], "no single field mends that; add nodes"),
        ([Mend("a", 1)], "a: 1 would fit; or add nodes"),
        ([Mend("a", 0.25), Mend("seeds", (0, 1))], "a: 0.25 or seeds: [0, 1] would fit; or add nodes"),
    ],
)
def test_proposals_in_words(mends: list[Mend], told: str) -> None:
    assert mend_words(mends, "add nodes") == told
