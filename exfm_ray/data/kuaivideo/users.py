"""What each user did before each event. Pure functions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class PastItems:
    """Of each row, a span of `values`: the latest items before it, oldest first."""

    begins: Integers
    ends: Integers
    values: Integers


def past_items(
    users: Integers, times: NDArray[Any], items: Integers, chosen: NDArray[np.bool_], length: int
) -> PastItems:
    """The latest chosen items of the same user strictly before each row's time.

    Args:
        users: (N,) rows ordered by user, then time.
        times: (N,)
        chosen: (N,) whether a row's item is one of those that later rows see.
        length: at most so many per row.
    """
    before = np.concatenate([[0], np.cumsum(chosen)])
    new_user = np.append(True, users[1:] != users[:-1])[: len(users)]
    new_time = np.append(True, times[1:] != times[:-1])[: len(users)]
    ends = before[_group_begins(new_user | new_time)]
    begins = np.maximum(before[_group_begins(new_user)], ends - length)
    return PastItems(begins, ends, items[chosen])


def _group_begins(new: NDArray[np.bool_]) -> Integers:
    """(N,) the first row of each row's group, of whether a row begins one."""
    begins: Integers = np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))
    return begins
