"""Rows of a log that are exact copies of earlier ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def distinct_rows(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """Rows, ascending, that equal no earlier row in all of the columns, each (N,)."""
    order = np.lexsort(columns)  # stable, so the first of equal rows comes first
    same = np.ones(len(order), dtype=np.bool_)
    same[:1] = False
    for values in columns:
        ordered = values[order]
        same[1:] &= ordered[1:] == ordered[:-1]
    return np.sort(order[~same])
