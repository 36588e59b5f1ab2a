"""What a recipe needs at once is compared with what the cluster has, before anything waits for it for ever."""

from typing import Any

import pytest
from pydantic import ValidationError

from exfm_ray.config import Recipe
from exfm_ray.errors import UserError
from exfm_ray.needs import (
    check_cpus,
    check_gpus,
    fleet_workers,
    gpu_places,
    needed_cpus,
    vm_processes,
)
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
        ({"gpus_per_fm": 1}, [], "room for 0; resources.gpus_per_fm: 0 would fit; or add GPUs"),
        (
            {"gpus_per_fm": 0.5, "fm_replicas_most": 2},
            [1],
            "room for 2; resources.fm_replicas_most: 1 or resources.gpus_per_fm: 0.3333 would fit; or add GPUs",
        ),
        ({"gpus_per_fm": 4}, [2, 2, 2], "6 GPUs have room for 0; resources.gpus_per_fm: 2 would fit"),
        ({"gpus_per_vm": 1}, [1], "resources.gpus_per_vm: the fleet's workers (2) need 1 GPUs each"),
        ({"gpus_per_vm": 1}, [1], "resources.fleet_workers: 1 or resources.gpus_per_vm: 0.5 would fit; or add GPUs"),
        ({"gpus_per_fm": 0.5, "gpus_per_vm": 0.5}, [1], "needs 2 GPUs at once but the cluster has 1"),
        ({"gpus_per_fm": 1, "gpus_per_vm": 1}, [], "no single field mends that; add GPUs"),
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


def test_cpus_that_are_not_there_are_told_in_one_line() -> None:
    wanted = recipe(fm_replicas=4, fleet_workers=3, augment_tasks=8)
    check_cpus(wanted, 3, 10)
    with pytest.raises(UserError) as error:
        check_cpus(wanted, 3, 9)
    assert str(error.value) == (
        "resources: the recipe needs 10 CPUs at once but the cluster has 9; resources.fm_replicas: 3 or "
        "resources.fleet_workers: 2 or resources.augment_tasks: 4 would fit; or add nodes"
    )


@pytest.mark.parametrize("cpus", range(4, 12))
def test_a_fleet_that_is_left_open_always_fits(cpus: int) -> None:
    check_cpus(recipe(), fleet_workers(recipe(), cpus), cpus)


def test_the_most_replicas_have_their_cpus() -> None:
    fixed, grows = recipe(fm_replicas=1), recipe(fm_replicas=1, fm_replicas_most=4)
    assert needed_cpus(grows, 2) == needed_cpus(fixed, 2) + 3
    assert fleet_workers(fixed, 5) == 2
    assert fleet_workers(grows, 5) == 1


def test_a_fleet_has_at_most_a_worker_per_variant() -> None:
    recipe = Recipe.model_validate(small_content(vms=[{"name": "vm"}], methods=["none", "ah"]))
    on_gpus = recipe.model_copy(update={"resources": recipe.resources.model_copy(update={"gpus_per_vm": 1.0})})
    asked = recipe.model_copy(update={"resources": recipe.resources.model_copy(update={"fleet_workers": 5})})
    assert fleet_workers(recipe, 16) == 2
    assert fleet_workers(on_gpus, 16) == 1
    assert fleet_workers(asked, 16) == 2


def of_teams(*vm_workers: int, fm_workers: int = 1, **resources: Any) -> Recipe:
    """A VM per number of workers."""
    vms = [{"name": f"vm{index}", "workers": workers} for index, workers in enumerate(vm_workers)]
    return Recipe.model_validate(
        small_content(vms=vms, methods=["none"], fm={"workers": fm_workers}, resources=resources)
    )


def test_workers_that_train_one_model_together_are_counted_beside_the_fleet() -> None:
    assert needed_cpus(of_teams(1, 1), 2) == 1 + 1 + 2 + 1
    assert needed_cpus(of_teams(1, 3, 2, fm_workers=4), 1) == 4 + 1 + (1 + 3 + 2) + 1
    assert fleet_workers(of_teams(1, 3, 1), 100) == 2
    assert fleet_workers(of_teams(3, 2), 100) == 0
    assert fleet_workers(of_teams(3, 2, fleet_workers=2), 100) == 0
    assert vm_processes(of_teams(1, 3, 2), 1) == (6, "the workers of the fleet and of vm1, vm2 (1 + 3 + 2)")
    assert vm_processes(of_teams(3), 0) == (3, "the workers of vm0 (3)")


def test_workers_of_one_model_that_never_find_cpus_are_told_with_what_would_fit() -> None:
    wanted = of_teams(1, 6, fm_workers=3, fleet_workers=1)
    check_cpus(wanted, 1, 12)
    with pytest.raises(UserError) as error:
        check_cpus(wanted, 1, 10)
    assert str(error.value) == (
        "resources: the recipe needs 12 CPUs at once but the cluster has 10; fm.workers: 1 or vms.vm1.workers: 4 would "
        "fit; or add nodes"
    )
    with pytest.raises(UserError, match=r"has 8; vms\.vm1\.workers: 2 would fit; or add nodes"):
        check_cpus(wanted, 1, 8)


def test_workers_of_one_model_that_never_find_gpus_are_told_with_what_would_fit() -> None:
    with pytest.raises(UserError) as error:
        check_gpus(of_teams(4, gpus_per_vm=1), 0, [2, 1])
    assert str(error.value) == (
        "resources.gpus_per_vm: the workers of vm0 (4) need 1 GPUs each, and the cluster's 3 GPUs have room for 3; "
        "vms.vm0.workers: 3 or resources.gpus_per_vm: 0.5 would fit; or add GPUs"
    )
