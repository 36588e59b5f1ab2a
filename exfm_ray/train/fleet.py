"""The fleet: one Ray Train run whose workers train all variants, each taking the next group and day when it is free."""

import uuid
from collections.abc import Sequence
from typing import Any

import ray
import ray.train
from ray.train.collective import barrier, broadcast_from_rank_zero

from exfm_ray.config import VariantConfig
from exfm_ray.data.experiment import Experiment
from exfm_ray.train.process import training_device
from exfm_ray.train.variants import costs, work
from exfm_ray.train.work_queue import Turn, WorkQueue


def train_fleet(settings: dict[str, Any]) -> None:
    """The training function of the fleet's Ray Train run, on however many workers there are.

    Args:
        settings: `experiment`, an `Experiment` as JSON values, and `groups` of `VariantConfig`s, likewise.
    """
    experiment = Experiment.model_validate(settings["experiment"])
    groups = [[VariantConfig.model_validate(variant) for variant in group] for group in settings["groups"]]
    context, device = ray.train.get_context(), training_device()
    worker, workers = context.get_world_rank(), context.get_world_size()
    days = experiment.supervised_days
    if workers == 1:
        work(experiment, groups, WorkQueue(costs(groups), 1, days), worker, device)
        return
    queue = SharedQueue(costs(groups), workers, days, worker)
    work(experiment, groups, queue, worker, device)
    barrier()  # the queue ends with the first worker's hold on it, and others may still ask whether all is done
    queue.leave()


class SharedQueue:
    """The one queue of a fleet's workers, in a process of its own.

    When a worker dies, Ray Train starts all of them again, with a new queue: whatever had been taken and was not
    committed is taken again.

    Args:
        costs, workers, days: as `WorkQueue` takes them.
        worker: that asks; the first makes the queue, and all of them must come for it.
    """

    def __init__(self, costs: Sequence[float], workers: int, days: range, worker: int) -> None:
        name = None
        if worker == 0:
            name = f"exfm-fleet-{uuid.uuid4().hex}"
            actor = ray.remote(num_cpus=0)(WorkQueue).options(name=name)
            self._queue: Any = actor.remote(costs, workers, days)
        name = broadcast_from_rank_zero(name)
        if worker != 0:
            self._queue = ray.get_actor(name)

    def leave(self) -> None:
        """Let go of the queue; the first worker's is the one that keeps it alive."""
        del self._queue

    def take(self, worker: int, ready_through: int) -> Turn:
        turn: Turn = ray.get(self._queue.take.remote(worker, ready_through))
        return turn

    def done(self, group: int, seconds: float) -> None:
        ray.get(self._queue.done.remote(group, seconds))
