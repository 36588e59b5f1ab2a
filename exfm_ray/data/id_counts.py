"""How often each id was seen, in memory that grows with the distinct ids, whatever the number of events."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

LEAST_PENDING = 1_048_576
"""ids that wait to be merged at least; merging when as many wait as are counted costs each id a few sorts in all"""


class IdCounts:
    """Counts of distinct ids.

    Args:
        ids, counts: (n,) each, what was counted before; ids ascending, each once.
    """

    def __init__(self, ids: Integers | None = None, counts: Integers | None = None) -> None:
        none = np.zeros(0, dtype=np.int64)
        self._ids, self._counts = (none if part is None else part for part in (ids, counts))
        self._pending: list[tuple[Integers, Integers]] = []
        self._waiting = 0

    def add(self, values: Integers) -> None:
        """Count the ids of some events: (V,), in any order."""
        ids, counts = np.unique(values, return_counts=True)
        self._pending.append((ids, counts.astype(np.int64)))
        self._waiting += len(ids)
        if self._waiting >= max(LEAST_PENDING, len(self._ids)):
            self._merge()

    def merged(self) -> tuple[Integers, Integers]:
        """Ids in ascending order, each once, and their counts: (n,) each."""
        self._merge()
        return self._ids, self._counts

    def _merge(self) -> None:
        if self._waiting:
            ids, counts = (
                np.concatenate(parts) for parts in zip((self._ids, self._counts), *self._pending, strict=True)
            )
            order = np.argsort(ids, kind="stable")
            ids, counts = ids[order], counts[order]
            starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
            self._ids, self._counts = ids[starts], np.add.reduceat(counts, starts)
        self._pending, self._waiting = [], 0


def ranked(ids: Integers, counts: Integers, rows: Integers, least: int, most_rows: int | None) -> Integers:
    """Rows of ids: those that have one keep it; the others that were seen often enough get the next ones.

    The more frequent come first, and of equally frequent ones the smaller id.

    Args:
        ids, counts: (n,) each, ids ascending.
        rows: (n,) from 1 on; 0 where an id has none.
        least: how often an id must have been seen.
        most_rows: of all ids together; None for no limit.

    Returns:
        (n,) as `rows`.
    """
    new = np.flatnonzero((rows == 0) & (counts >= least))
    new = new[np.lexsort((ids[new], -counts[new]))]
    taken = int(rows.max(initial=0))
    if most_rows is not None:
        new = new[: most_rows - taken]
    given = rows.copy()
    given[new] = taken + 1 + np.arange(len(new))
    return given
