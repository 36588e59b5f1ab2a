"""Cutting a log into days of nearly equal numbers of events, and days into slices that fit in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exfm_ray.errors import UserError

ROWS_PER_SLICE = 131_072


@dataclass(frozen=True)
class TimeSlice:
    """Consecutive events; those of one time are never parted."""

    day: int
    """from 1"""
    first_time: float
    last_time: float
    """inclusive"""
    first_rank: int
    """of its first event among all events in order of time, from 0"""
    rows: int


def cut_days(times: NDArray[Any], days: int) -> list[TimeSlice]:
    """Slices of all days, in order.

    Each day ends at the end of a time that is nearest to its equal share, so days differ by the events that share a
    time with a cut at most; as many slices per day as keep them near
    ROWS_PER_SLICE events.

    Args:
        times: (N,) of all events, ascending.
        days: how many.

    Raises:
        UserError: there are too few distinct times.
    """
    edges = [0, *_cuts(times, np.linspace(0, len(times), days + 1)[1:-1]), len(times)]
    if any(begin >= end for begin, end in pairwise(edges)):
        raise UserError(
            f"data.days: {days}, but {len(times)} events at {len(np.unique(times))} distinct times do not give each "
            "day one of its own; lower it"
        )
    return [
        TimeSlice(day, float(times[begin]), float(times[end - 1]), begin, end - begin)
        for day, (first, last) in enumerate(pairwise(edges), start=1)
        for begin, end in _slices(times[first:last], first)
    ]


def _slices(times: NDArray[Any], offset: int) -> list[tuple[int, int]]:
    """Begin and end of each slice of one day."""
    count = -(-len(times) // ROWS_PER_SLICE)
    cuts = _cuts(times, np.linspace(0, len(times), count + 1)[1:-1])
    edges = sorted({0, *cuts, len(times)})
    return [(begin + offset, end + offset) for begin, end in pairwise(edges)]


def _cuts(times: NDArray[Any], wanted: NDArray[np.float64]) -> list[int]:
    """The boundary between two times that is nearest to each wanted place."""
    if not len(times):
        return [0] * len(wanted)
    at = times[wanted.astype(np.int64)]
    before, after = np.searchsorted(times, at), np.searchsorted(times, at, side="right")
    return [int(place) for place in np.where(wanted - before <= after - wanted, before, after)]


def slices_of_day(slices: Sequence[TimeSlice], day: int) -> list[TimeSlice]:
    """In order."""
    return [piece for piece in slices if piece.day == day]
