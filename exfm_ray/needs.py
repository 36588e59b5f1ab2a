"""What the processes of a recipe need at once of a cluster, and what it lacks: Ray would wait for that for ever."""

import math
import os
from collections.abc import Sequence

from exfm_ray.config import Recipe, ResourcesConfig
from exfm_ray.errors import UserError
from exfm_ray.mends import mend_words, recipe_mends, resource_mends


def fleet_workers(recipe: Recipe, cpus: float) -> int:
    """How many workers share the variants of the VMs: as the recipe says, or as many as CPUs are left for.

    With GPUs no more than there are VMs: a core trains one variant at a time, but a GPU has room for many. VMs that
    have several workers each are not the fleet's; where there are no others, it has no worker.
    """
    wanted = recipe.resources.fleet_workers
    if wanted != "auto":
        return min(wanted, len(recipe.fleet_variants()))
    return _some_workers(recipe, int(cpus) - needed_cpus(recipe, 0))


def most_fleet_workers(recipe: Recipe) -> int:
    """Beyond which there would be nothing to share."""
    variants = recipe.fleet_variants()
    return len({variant.vm.name for variant in variants} if recipe.resources.gpus_per_vm else variants)


def _some_workers(recipe: Recipe, room: int) -> int:
    """As many as there is room for, but one at least if there is something to do."""
    return min(most_fleet_workers(recipe), max(1, room))


def machine_memory() -> int:
    """Bytes of this machine's main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def most_replicas(recipe: Recipe) -> int:
    """Of the FM, when the load is high."""
    return recipe.resources.fm_replicas_most or recipe.resources.fm_replicas


def needed_cpus(recipe: Recipe, workers: int) -> int:
    """CPUs that must be there at once: the FM's workers, its most replicas, those of VMs, and tasks that stream days.

    Args:
        workers: of the fleet, beside which there are those of VMs that have several each.
    """
    from exfm_ray.das.augmentation import CPUS_PER_TASK

    resources = recipe.resources
    training = recipe.fm.workers + recipe.team_workers + workers
    return training + most_replicas(recipe) + math.ceil(CPUS_PER_TASK * resources.augment_tasks)


def check_cpus(recipe: Recipe, workers: int, cpus: float) -> None:
    """Compare the CPUs that the recipe's processes need at once with the cluster's; Ray would wait for them for ever.

    Args:
        workers: of the fleet.
        cpus: of all nodes together.

    Raises:
        UserError: they are too few; says the smallest changes with which they are enough.
    """

    def fits(changed: Recipe) -> bool:
        return needed_cpus(changed, _workers_after(recipe, changed, workers)) <= cpus

    if (needed := needed_cpus(recipe, workers)) > cpus:
        mends = mend_words(recipe_mends(recipe, workers, fits), "add nodes")
        raise UserError(f"resources: the recipe needs {needed} CPUs at once but the cluster has {cpus:g}; {mends}")


def check_gpus(recipe: Recipe, workers: int, nodes: Sequence[float]) -> None:
    """Compare what the recipe's processes need at once with the cluster; Ray would wait for it for ever.

    Args:
        workers: of the fleet.
        nodes: GPUs of each.

    Raises:
        UserError: no such cluster can give them; says the smallest changes with which it can.
    """

    def fits(changed: Recipe) -> bool:
        return gpus_lacking(changed, _workers_after(recipe, changed, workers), nodes) is None

    if (lacking := gpus_lacking(recipe, workers, nodes)) is not None:
        raise UserError(f"{lacking}; {mend_words(recipe_mends(recipe, workers, fits), 'add GPUs')}")


def _workers_after(recipe: Recipe, changed: Recipe, workers: int) -> int:
    """The fleet's workers once a recipe was changed: where that is left open, they take the CPUs that become free."""
    if changed.resources.fleet_workers != "auto":
        return min(changed.resources.fleet_workers, workers)
    freed = needed_cpus(recipe, 0) - needed_cpus(changed, 0)
    return _some_workers(changed, workers + freed)


def gpus_lacking(recipe: Recipe, workers: int, nodes: Sequence[float]) -> str | None:
    """What the recipe needs and the cluster has not, in words; None where it has all."""
    resources = recipe.resources
    of_fm, of_vms = fm_processes(recipe), vm_processes(recipe, workers)
    for field, each, (processes, who) in (
        ("gpus_per_fm", resources.gpus_per_fm, of_fm),
        ("gpus_per_vm", resources.gpus_per_vm, of_vms),
    ):
        if each and (places := gpu_places(nodes, each)) < processes:
            return (
                f"resources.{field}: {who} need {each:g} GPUs each, and the cluster's {sum(nodes):g} GPUs have "
                f"room for {places}"
            )
    needed = of_fm[0] * resources.gpus_per_fm + of_vms[0] * resources.gpus_per_vm
    if needed > sum(nodes) + 1e-6:
        return f"resources: the recipe needs {needed:g} GPUs at once but the cluster has {sum(nodes):g}"
    return None


def fm_processes(recipe: Recipe) -> tuple[int, str]:
    """How many processes train the FM and answer for it, and the same in words."""
    workers, replicas = recipe.fm.workers, most_replicas(recipe)
    who = "the FM's trainer and replicas" if workers == 1 else "the FM's workers and replicas"
    return workers + replicas, f"{who} ({workers} + {replicas})"


def vm_processes(recipe: Recipe, workers: int) -> tuple[int, str]:
    """How many processes train VMs, and the same in words.

    Args:
        workers: of the fleet.
    """
    teams = recipe.team_vms()
    if not teams:
        return workers, f"the fleet's workers ({workers})"
    each = " + ".join(str(count) for count in [*([workers] if workers else []), *(vm.workers for vm in teams)])
    names = ", ".join(vm.name for vm in teams)
    return workers + recipe.team_workers, f"the workers of {'the fleet and of ' if workers else ''}{names} ({each})"


def gpu_places(nodes: Sequence[float], each: float) -> int:
    """How many processes that need so much of a GPU, or so many whole ones, fit on nodes with so many GPUs."""
    if each < 1:
        return int(sum(nodes)) * math.floor(1 / each + 1e-6)
    return sum(int(gpus // each) for gpus in nodes)


def check_room(resources: ResourcesConfig, cpus: float, nodes: Sequence[float]) -> None:
    """Compare what the FM's replicas need at once with the cluster; Serve would wait for it for ever.

    Args:
        cpus: of all nodes together.
        nodes: GPUs of each.

    Raises:
        UserError: they are too few.
    """
    if (lacking := _room_lacking(resources, cpus, nodes)) is not None:
        mends = resource_mends(resources, 1, lambda changed: _room_lacking(changed, cpus, nodes) is None)
        raise UserError(f"{lacking}; in the run's recipe.yaml {mend_words(mends, 'add nodes')}")


def _room_lacking(resources: ResourcesConfig, cpus: float, nodes: Sequence[float]) -> str | None:
    replicas, each = resources.fm_replicas, resources.gpus_per_fm
    if replicas > cpus:
        return f"resources: {replicas} replicas of the FM need a CPU each and there are {cpus:g}"
    if each and (places := gpu_places(nodes, each)) < replicas:
        return f"resources: {replicas} replicas of the FM need {each:g} GPUs each and there is room for {places}"
    return None
