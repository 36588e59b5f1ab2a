"""Which nodes the processes of a recipe may run on, and what is said where those are too few."""

from typing import Any

import pytest
from pydantic import ValidationError

from exfm_ray.config import Recipe
from exfm_ray.config.placement import ComingNodes, Placement
from exfm_ray.das.deployment import actor_options
from exfm_ray.errors import UserError
from exfm_ray.placing import check_placement, room_on
from tests.conftest import small_content

HEAD: dict[str, float] = {"node:10.0.0.1": 1, "memory": 1e9}
GPU_NODE: dict[str, float] = {"CPU": 8, "GPU": 2, "accelerator_type:L4": 1}
SPOT_NODE: dict[str, float] = {"CPU": 3, "spot": 1}
CLUSTER = [HEAD, GPU_NODE, SPOT_NODE, SPOT_NODE]


@pytest.mark.parametrize(
    ("placement", "room"),
    [
        (Placement(), 14),
        (Placement(nodes="spot"), 6),
        (Placement(nodes="other"), 0),
        (Placement(gpus=1), 2),
        (Placement(gpus=0.25, accelerator="L4"), 8),
        (Placement(gpus=0.1, accelerator="L4"), 8),  # the CPUs are fewer than the pieces of GPUs
        (Placement(gpus=2, accelerator="L4"), 1),
        (Placement(gpus=1, accelerator="A100"), 0),
        (Placement(gpus=1, accelerator="L4", nodes="spot"), 0),
    ],
)
def test_room_on_nodes(placement: Placement, room: int) -> None:
    assert room_on(placement, CLUSTER) == room


@pytest.mark.parametrize(
    ("placement", "processes", "told"),
    [
        (Placement(gpus=1, accelerator="A100"), 1, "resources.fm_accelerator: no node has a 'A100', there are L4;"),
        (Placement(nodes="spto"), 1, "resources.fm_nodes: no node has the custom resource 'spto'"),
        (Placement(nodes="spot"), 7, "resources.fm_nodes: all of them need a CPU each, and the nodes"),
        (Placement(gpus=0.5, accelerator="L4"), 5, "all of them need a CPU and 0.5 GPUs each, and the nodes"),
    ],
)
def test_too_little_room_is_told_in_one_line(placement: Placement, processes: int, told: str) -> None:
    with pytest.raises(UserError) as error:
        check_placement("fm", placement, processes, "all of them", CLUSTER)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_room_that_is_there_is_not_complained_of() -> None:
    check_placement("vm", Placement(nodes="spot"), 6, "all of them", CLUSTER)
    check_placement("vm", Placement(gpus=1, accelerator="L4"), 2, "all of them", CLUSTER)


def test_nodes_that_may_come_have_what_the_recipe_says() -> None:
    coming = ComingNodes(most=2, cpus=4, gpus=1, accelerator="H100", nodes="fm")
    assert coming.resources() == {"CPU": 4, "GPU": 1, "accelerator_type:H100": 1, "fm": 1}
    assert room_on(Placement(gpus=1, accelerator="H100", nodes="fm"), [coming.resources()]) == 1


def resources(**fields: Any) -> Any:
    return Recipe.model_validate(small_content(resources=fields)).resources


def test_trainers_and_replicas_are_placed_alike() -> None:
    placed = resources(gpus_per_fm=0.5, fm_accelerator="A100", fm_nodes="fm", vm_nodes="spot")
    assert placed.fm_placement.resources == {"CPU": 1, "GPU": 0.5, "fm": 0.001}
    assert placed.vm_placement.resources == {"CPU": 1, "spot": 0.001}
    assert actor_options(placed.fm_placement) == {
        "num_cpus": 1,
        "num_gpus": 0.5,
        "accelerator_type": "A100",
        "resources": {"fm": 0.001},
    }
    assert actor_options(Placement()) == {"num_cpus": 1}


@pytest.mark.parametrize("kind", ["fm", "vm"])
def test_a_type_of_gpu_needs_gpus(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"{kind}_accelerator 'A100' needs GPUs; set gpus_per_{kind}"):
        resources(**{f"{kind}_accelerator": "A100"})
