"""Who trains what next: groups of variants and their days, handed to whoever is free."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Turn = tuple[int, int] | Literal["wait for a day", "wait for others", "end"]
"""a group and the day that it shall live through, or why there is none for now"""


@dataclass
class Progress:
    """Where a group stands."""

    day: int
    """that it shall live through next"""
    worker: int
    """that had it last, and may still hold its models"""
    seconds: float
    """that its last day took, to tell the dear from the cheap"""
    is_taken: bool = False


class WorkQueue:
    """Each group lives through its days in order, and no two workers have it at once.

    A free worker goes on with its own groups, whose models it holds, the earliest day first and of those the dearest
    first. It takes one that another worker had where that one is two days behind, or where it would wait otherwise.

    Args:
        costs: of each group's day, in any unit, until it is measured. By them the groups are dealt to begin with.
        workers: that may ask, from 0 on.
        days: that every group lives through.
    """

    def __init__(self, costs: Sequence[float], workers: int, days: range) -> None:
        self._end = days.stop
        owners = dealt(costs, workers)
        self._groups = [Progress(days.start, worker, cost) for worker, cost in zip(owners, costs, strict=True)]

    def take(self, worker: int, ready_through: int) -> Turn:
        """What a free worker shall do.

        Args:
            ready_through: the last day whose supervision is there.
        """
        unfinished = [group for group in self._groups if group.day < self._end]
        if not unfinished:
            return "end"
        able = [group for group in unfinished if not group.is_taken and group.day <= ready_through]
        if not able:
            return "wait for others" if any(group.is_taken for group in unfinished) else "wait for a day"
        chosen = min(able, key=lambda group: _urgency(group, worker))
        chosen.is_taken, chosen.worker = True, worker
        return self._groups.index(chosen), chosen.day

    def done(self, group: int, seconds: float) -> None:
        """A group has lived through the day that it was taken for."""
        progress = self._groups[group]
        progress.day, progress.seconds, progress.is_taken = progress.day + 1, seconds, False


def dealt(costs: Sequence[float], workers: int) -> list[int]:
    """A worker for each piece: the dearest first, each to whoever has least (Graham's longest first)."""
    owners, loads = [0] * len(costs), [0.0] * workers
    for piece in sorted(range(len(costs)), key=lambda piece: -costs[piece]):
        owners[piece] = loads.index(min(loads))
        loads[owners[piece]] += costs[piece]
    return owners


def _urgency(group: Progress, worker: int) -> tuple[int, bool, float]:
    is_foreign = group.worker != worker
    return group.day + is_foreign, is_foreign, -group.seconds
