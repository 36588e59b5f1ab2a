"""Finding the row of an id, millions of times: a table where ids lie close together, a hash table where they do not.

The hash table is that of pandas, which is imported where one is made: few processes need it, and it takes 30 MiB.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exfm_ray.data.blocks import in_blocks

if TYPE_CHECKING:
    import pandas as pd

Integers = NDArray[np.int64]

LEAST_SPAN = 65_536
WIDEST = 4
"""A table may have so many places for every known id: 32 bytes, fewer than a hash table needs."""


@dataclass(frozen=True)
class DenseLookup:
    """A place for every integer from the first known id to the last."""

    before_first: np.int64
    """one less than the first id; it wraps around where the first is the least integer there is"""
    places: Integers
    """rows of the integers from `before_first` on; both ends are not known"""

    @classmethod
    def of(cls, ids: Integers, rows: Integers, unknown: int) -> "DenseLookup":
        places = np.full(int(ids[-1]) - int(ids[0]) + 3, unknown, dtype=np.int64)
        places[ids - ids[0] + 1] = rows
        return cls((ids[:1] - 1)[0], places)

    def __call__(self, values: Integers) -> Integers:
        return in_blocks(self._of_block, values)

    def _of_block(self, values: Integers) -> Integers:
        # a difference that wraps around is negative, or larger than any table: clipped to an end, as it should be
        return np.take(self.places, values - self.before_first, mode="clip")


@dataclass(frozen=True)
class HashedLookup:
    """Ids in the order of their rows, so that an id's place says its row."""

    ids: "pd.Index"
    unknown: int

    @classmethod
    def of(cls, ids: Integers, rows: Integers, unknown: int) -> "HashedLookup":
        import pandas as pd

        in_order = np.empty_like(ids)
        in_order[rows - 1] = ids
        return cls(pd.Index(in_order), unknown)

    def __call__(self, values: Integers) -> Integers:
        rows = self.ids.get_indexer(values).astype(np.int64, copy=False) + 1  # type: ignore[arg-type]
        rows[rows == 0] = self.unknown
        return rows


def row_lookup(ids: Integers, rows: Integers) -> DenseLookup | HashedLookup:
    """Rows of ids, from what is known; all other ids get row n + 1.

    Args:
        ids: (n,) ascending, each once; n at least 1.
        rows: (n,) 1 … n, each once.
    """
    span = int(ids[-1]) - int(ids[0])
    kind = DenseLookup if span < max(WIDEST * len(ids), LEAST_SPAN) else HashedLookup
    return kind.of(ids, rows, len(ids) + 1)
