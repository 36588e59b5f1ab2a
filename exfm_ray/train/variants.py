"""Many variants in one process: those that read the same rows share one pass over them.

    train_variants(experiment, [VariantConfig(vm=vm, method="ah", seed=seed) for vm in vms for seed in range(4)])

A variant gives the numbers that it would give alone, to the last bit.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import torch

from exfm_ray.config import VariantConfig
from exfm_ray.data.commit import committed
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.traffic import Traffic
from exfm_ray.data.waiting import WAIT_MEND
from exfm_ray.models.build import parameters_of
from exfm_ray.train.kept_passes import GIB, KeptPasses
from exfm_ray.train.share_out import READING, share_out
from exfm_ray.train.work_queue import Turn, WorkQueue
from exfm_ray.waits import in_vain, pause

CPU = torch.device("cpu")

Group = list[VariantConfig]
"""variants that share a pass"""

MOST_VARIANTS = 8
"""of a group; reading the rows is then a thirtieth of its work, and more would only need more memory"""
BYTES_PER_TRAINED_PARAMETER = 12
"""itself and two states of lazy Adam, which has most"""
PAUSE_SECONDS = 0.1


class Queue(Protocol):
    """A `WorkQueue`, here or in another process."""

    def take(self, worker: int, ready_through: int) -> Turn: ...
    def done(self, group: int, seconds: float) -> None: ...


def train_variants(experiment: Experiment, variants: Sequence[VariantConfig], device: torch.device = CPU) -> None:
    """Train and evaluate variants over all days of an experiment, going on from what is committed.

    The variants need not be those of the recipe, but must read rows that one of its VMs reads, since others are not
    supervised. Their results are in `experiment.outcome_files(variants)`, their snapshots beside all others.

    Args:
        variants: name, method and seed together occur once.

    Raises:
        ValueError: two variants have the same name, method and seed.
        WaitError: what a variant reads is not there after the recipe's time.
        DataError: the run directory holds another configuration under the same name, method and seed.
    """
    groups = grouped(experiment, variants, 1)
    queue = WorkQueue(costs(groups), 1, experiment.supervised_days)
    work(experiment, groups, queue, 0, device)


def grouped(experiment: Experiment, variants: Sequence[VariantConfig], workers: int) -> list[Group]:
    """Variants of one pass together, but as many groups as keep all workers busy, and none too large.

    Raises:
        ValueError: two variants have the same name, method and seed.
    """
    names = Counter((variant.vm.name, variant.method, variant.seed) for variant in variants)
    if repeated := sorted(name for name, count in names.items() if count > 1):
        raise ValueError(f"variants repeat name, method and seed: {repeated}; give each VM configuration its own name")
    passes = by_rows(experiment, variants)
    groups: list[Group] = []
    for share in share_out([len(members) for members in passes], workers):
        for index in dict.fromkeys(index for index, _ in share):
            members = [passes[index][member] for of, member in share if of == index]
            most = most_together(experiment, members)
            groups += [members[start : start + most] for start in range(0, len(members), most)]
    return groups


def most_together(experiment: Experiment, variants: Sequence[VariantConfig]) -> int:
    """How many of some variants a worker has room for in the memory that the recipe gives it; one in any case."""
    parameters = max(
        parameters_of(vm.model, experiment.vm_traffic(vm).schema, tasks=1)
        for vm in {variant.vm.name: variant.vm for variant in variants}.values()
    )
    copies = 2 if any(variant.vm.optimizer.stack for variant in variants) else 1
    room = experiment.recipe.resources.kept_gib * GIB / (copies * parameters * BYTES_PER_TRAINED_PARAMETER)
    return max(1, min(MOST_VARIANTS, int(room)))


def costs(groups: Sequence[Group]) -> list[float]:
    """Of a day, in trainings of one variant; all variants are taken to cost the same."""
    return [READING + len(group) for group in groups]


def by_rows(experiment: Experiment, variants: Sequence[VariantConfig]) -> list[Group]:
    """The variants that can share a pass: they read the same columns of the same rows in the same batches."""
    readings: list[tuple[Traffic, int]] = []
    groups: list[Group] = []
    for variant in variants:
        reading = experiment.vm_traffic(variant.vm), experiment.batch_rows(variant.vm.optimizer.batch_size)
        if reading not in readings:
            readings.append(reading)
            groups.append([])
        groups[readings.index(reading)].append(variant)
    return groups


def work(experiment: Experiment, groups: Sequence[Group], queue: Queue, worker: int, device: torch.device) -> None:
    """What one worker does until all work of a queue is done.

    Raises:
        WaitError, DataError: as `train_variants`.
    """
    kept = KeptPasses(experiment, groups, device)
    days = experiment.supervised_days
    ready, timeout, since = days.start - 1, experiment.recipe.resources.wait_timeout_seconds, time.monotonic()
    while True:
        while ready + 1 in days and committed(experiment.supervision(ready + 1)) is not None:
            ready, since = ready + 1, time.monotonic()
        turn = queue.take(worker, ready)
        if turn == "end":
            return
        if isinstance(turn, str):
            if turn == "wait for others":
                since = time.monotonic()
            elif time.monotonic() - since > timeout:
                place = experiment.supervision(ready + 1)
                raise in_vain(timeout, f"the supervision of day {ready + 1} at {place}", WAIT_MEND)
            pause(PAUSE_SECONDS)
            continue
        group, day = turn
        started = time.monotonic()
        kept.ready_for(group, day).live_through(day)
        since = time.monotonic()
        queue.done(group, since - started)
