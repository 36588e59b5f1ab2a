"""What a recipe needs at once is compared with what the cluster has, before anything waits for it for ever."""

from typing import Any

import pytest
from pydantic import ValidationError

from exfm_ray.cluster import check_gpus, fleet_workers, gpu_places, needed_cpus
from exfm_ray.config import Recipe
from exfm_ray.errors import UserError
from tests.conftest import small_content


def recipe(**resources: Any) -> Recipe:
    return Recipe.model_validate(small_content(resources=resources))


@pytest.mark.parametrize(
    ("nodes", "each", "places"),
    [
        ([], 1, 0),
        ([0, 0], 0.5, 0),
        ([1], 0.5, 2),
        ([1], 0.1, 10),
        ([2], 0.6, 2),
        ([2, 1], 0.3, 9),
        ([4, 4], 1, 8),
        ([4, 3], 2, 3),
        ([2, 2], 4, 0),
    ],
)
def test_room_for_processes_on_gpus(nodes: list[float], each: float, places: int) -> None:
    assert gpu_places(nodes, each) == places


@pytest.mark.parametrize(
    ("resources", "nodes"),
    [
        ({}, []),
        ({"gpus_per_fm": 0.5}, [1]),
        ({"gpus_per_fm": 0.25, "fm_replicas_most": 3}, [1]),
        ({"gpus_per_fm": 0.25, "gpus_per_vm": 0.25}, [1]),
        ({"gpus_per_fm": 2, "fm_replicas": 3}, [4, 4]),
    ],
)
def test_gpus_that_are_there_are_not_complained_of(resources: dict[str, Any], nodes: list[float]) -> None:
    check_gpus(recipe(**resources), 2, nodes)


@pytest.mark.parametrize(
    ("resources", "nodes", "told"),
    [
        ({"gpus_per_fm": 1}, [], "resources.gpus_per_fm: the FM's trainer and replicas (1 + 1) need 1 GPUs each"),
        ({"gpus_per_fm": 0.5, "fm_replicas_most": 2}, [1], "room for 2; lower it"),
        ({"gpus_per_fm": 4}, [2, 2, 2], "6 GPUs have room for 0"),
        ({"gpus_per_vm": 1}, [1], "resources.gpus_per_vm: the fleet's workers (2) need 1 GPUs each"),
        ({"gpus_per_fm": 0.5, "gpus_per_vm": 0.5}, [1], "needs 2 GPUs at once but the cluster has 1"),
    ],
)
def test_gpus_that_are_not_there_are_told_in_one_line(resources: dict[str, Any], nodes: list[float], told: str) -> None:
    with pytest.raises(UserError) as error:
        check_gpus(recipe(**resources), 2, nodes)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("gpus", [1.5, 0.00001])
def test_gpus_that_ray_cannot_give_are_no_recipe(gpus: float) -> None:
    with pytest.raises(ValidationError, match="a part of one GPU"):
        recipe(gpus_per_fm=gpus)


def test_the_most_replicas_have_their_cpus() -> None:
    fixed, grows = recipe(fm_replicas=1), recipe(fm_replicas=1, fm_replicas_most=4)
    assert needed_cpus(grows, 2) == needed_cpus(fixed, 2) + 3
    assert fleet_workers(fixed, 4) == 2
    assert fleet_workers(grows, 4) == 1


def test_a_fleet_has_at_most_a_worker_per_variant() -> None:
    recipe = Recipe.model_validate(small_content(vms=[{"name": "vm"}], methods=["none", "ah"]))
    on_gpus = recipe.model_copy(update={"resources": recipe.resources.model_copy(update={"gpus_per_vm": 1.0})})
    asked = recipe.model_copy(update={"resources": recipe.resources.model_copy(update={"fleet_workers": 5})})
    assert fleet_workers(recipe, 16) == 2
    assert fleet_workers(on_gpus, 16) == 1
    assert fleet_workers(asked, 16) == 2
