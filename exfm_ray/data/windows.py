"""Lists as windows into elements that lie end to end, so that lists which overlap hold what they share once."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.errors import DataError

Integers = NDArray[np.int64]

WORTH_SHARING = 0.75
"""of the elements that all lists have; where more than that would be kept, lists are kept as they are"""


@dataclass(frozen=True)
class Windows:
    """N lists: the i-th is `elements[begins[i] : begins[i] + lengths[i]]`."""

    elements: Integers
    """(E,)"""
    begins: Integers
    """(N,)"""
    lengths: Integers
    """(N,)"""

    @classmethod
    def of(cls, lists: pa.ListArray, owners: Integers | None) -> "Windows":
        """The windows of N lists without nulls, the lists of an owner sharing what they have in common.

        A history forgets its oldest elements and gets new ones at its end: so of two that follow each other the end of
        the first is the beginning of the second. Where that saves little, elements stay in the order of the lists.

        Args:
            owners: (N,) equal where lists may share; None: no two may.
        """
        offsets = np.asarray(lists.offsets).astype(np.int64)
        elements = np.asarray(lists.flatten())
        apart = cls(elements, offsets[:-1] - offsets[0], np.diff(offsets))
        together = apart if owners is None else _joined(apart, owners)
        return together if len(together.elements) <= WORTH_SHARING * len(elements) else apart

    def lists(self) -> pa.ListArray:
        """The N lists; elements are copied only where the windows do not follow each other.

        Raises:
            DataError: a window is not within the elements.
        """
        if not len(self.begins):
            return pa.array([], pa.list_(pa.int64()))
        ends = self.begins + self.lengths
        first, last = int(self.begins[0]), int(ends[-1])
        if self.begins.min() < 0 or self.lengths.min() < 0 or ends.max() > len(self.elements):
            raise DataError(f"windows from {self.begins.min()} to {ends.max()} of {len(self.elements)} elements")
        if np.array_equal(self.begins[1:], ends[:-1]):
            offsets, elements = np.append(self.begins, last) - first, self.elements[first:last]
        else:
            offsets, elements = _offsets(self.lengths), self.elements[_places(self.begins, self.lengths)]
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(elements))


def _joined(apart: Windows, owners: Integers) -> Windows:
    """The same lists, owner after owner, each list adding to its owner's elements what the one before it has not."""
    order = np.argsort(owners, kind="stable")
    begins, lengths = apart.begins[order], apart.lengths[order]
    shared = np.zeros(len(order), dtype=np.int64)
    follows = np.flatnonzero(np.diff(owners[order]) == 0) + 1
    shared[follows] = _overlaps(apart.elements, begins, lengths, follows)
    added = lengths - shared
    joined_ends = np.cumsum(added)
    elements = apart.elements[_places(begins + shared, added)]
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return Windows(elements, (joined_ends - lengths)[back], lengths[back])


def _overlaps(elements: Integers, begins: Integers, lengths: Integers, follows: Integers) -> Integers:
    """Of each list numbered in `follows`, how many of its first elements are the last ones of the list before it.

    The most that are, found by trying the longest overlap first.
    """
    found = np.zeros(len(follows), dtype=np.int64)
    tried = np.minimum(lengths[follows - 1], lengths[follows])
    open_ones = np.flatnonzero(tried)
    while len(open_ones):
        numbers, counts = follows[open_ones], tried[open_ones]
        before = begins[numbers - 1] + lengths[numbers - 1] - counts
        alike = elements[before] == elements[begins[numbers]]  # most that differ do so in the first element
        where = np.flatnonzero(alike)
        alike[where] = _equal(elements, before[where], begins[numbers[where]], counts[where])
        found[open_ones[alike]] = counts[alike]
        open_ones = open_ones[~alike]
        tried[open_ones] -= 1
        open_ones = open_ones[tried[open_ones] > 0]
    return found


def _equal(elements: Integers, some: Integers, others: Integers, lengths: Integers) -> NDArray[np.bool_]:
    """Of windows that are not empty, whether two of one length hold the same."""
    if not len(lengths):
        return np.zeros(0, dtype=np.bool_)
    same = elements[_places(some, lengths)] == elements[_places(others, lengths)]
    whole: NDArray[np.bool_] = np.logical_and.reduceat(same, _offsets(lengths)[:-1])
    return whole


def _offsets(lengths: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(lengths)])


def _places(begins: Integers, lengths: Integers) -> Integers:
    """Places of the windows' elements, window after window."""
    offsets = _offsets(lengths)
    places = np.repeat(begins - offsets[:-1], lengths)
    places += np.arange(offsets[-1])
    return places
