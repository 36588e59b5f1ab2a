"""The fleet: one Ray Train run whose workers each train a share of the VMs over all days.

All variants (method × seed) of a VM stand in one process and share one pass over its rows.
"""

from collections.abc import Sequence
from typing import Any

import ray.train

from exfm_ray.data.experiment import Experiment
from exfm_ray.train.group import VariantGroup
from exfm_ray.train.process import training_device


def share_out(costs: Sequence[float], workers: int) -> list[list[int]]:
    """Indices per worker: the dearest first, each to the worker that has least (Graham's longest first).

    Args:
        costs: of each piece of work, in any one unit.
    """
    shares: list[list[int]] = [[] for _ in range(workers)]
    loads = [0.0] * workers
    for index in sorted(range(len(costs)), key=lambda index: (-costs[index], index)):
        worker = loads.index(min(loads))
        shares[worker].append(index)
        loads[worker] += costs[index]
    return shares


def train_fleet(settings: dict[str, Any]) -> None:
    """The training function of the fleet's Ray Train run: every VM of this worker's share, day by day.

    Args:
        settings: `experiment`, an `Experiment` as JSON values, and `shares`, VM indices per worker.
    """
    experiment = Experiment.model_validate(settings["experiment"])
    share = settings["shares"][ray.train.get_context().get_world_rank()]
    device = training_device()
    groups = [VariantGroup(experiment, experiment.recipe.vms[index], device) for index in share]
    for day in experiment.supervised_days:
        for group in groups:
            group.live_through(day)
