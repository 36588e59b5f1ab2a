"""What each user chose before a moment: the last values of a key, looked up for many events at once."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Integers = NDArray[np.int64]

BEFORE_ALL = int(np.iinfo(np.int64).min)
"""The time of an entry that is known to be older than every event, but not by how much."""


@dataclass(frozen=True)
class Histories:
    """Entries of all users, ordered by user and time.

    Times are compared by their rank among the entries' distinct times, so that user and time fit one integer
    whatever the unit and the range of the times.
    """

    users: pd.Index
    """distinct users, ascending"""
    times: Integers
    """distinct times, ascending"""
    keys: Integers
    """(N,) ascending: place of the user times stride, plus rank of the time"""
    values: Integers
    """(N,) in the order of `keys`"""

    @classmethod
    def of(cls, users: Integers, times: Integers, values: Integers) -> "Histories":
        """Histories of `(N,)` entries; those of one user at one time keep the order in which they are given."""
        distinct_users, user_places = np.unique(users, return_inverse=True)
        distinct_times, time_ranks = np.unique(times, return_inverse=True)
        keys = user_places * (len(distinct_times) + 1) + time_ranks
        order = np.argsort(keys, kind="stable")
        return cls(pd.Index(distinct_users), distinct_times, keys[order], values[order])

    def before(self, users: Integers, times: Integers, length: int) -> tuple[NDArray[np.int32], Integers]:
        """The last `length` values of each user strictly before each time, oldest first.

        Args:
            users: (B,) users, also ones without any entry.
            times: (B,) moments; an entry at the very moment is not before it.
            length: at most so many values per event.

        Returns:
            offsets (B + 1,) and values (M,): event i has values[offsets[i]:offsets[i + 1]].
        """
        begins, ends = self.windows(users, times, length)
        offsets, places = window_places(begins, ends)
        return offsets, self.values[places]

    def windows(self, users: Integers, times: Integers, length: int) -> tuple[Integers, Integers]:
        """Where the values that `before` tells lie among all values: event i has values[begins[i]:ends[i]]."""
        stride = len(self.times) + 1
        user_keys = self.users.get_indexer(pd.Index(users)).astype(np.int64) * stride
        begins = np.searchsorted(self.keys, user_keys)
        ends = np.searchsorted(self.keys, user_keys + np.searchsorted(self.times, times))
        return np.maximum(begins, ends - length), ends


def window_places(begins: Integers, ends: Integers) -> tuple[NDArray[np.int32], Integers]:
    """Places begins[i], …, ends[i] - 1 of every window in turn.

    Returns:
        offsets (B + 1,) and places (M,): window i has places[offsets[i]:offsets[i + 1]].
    """
    offsets = np.concatenate([[0], np.cumsum(ends - begins)])
    places = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], ends - begins)
    return offsets.astype(np.int32), places
