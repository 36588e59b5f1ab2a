"""Columns of lists without nulls as arrays."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.errors import DataError


def lists_of(table: pa.Table, name: str) -> pa.ListArray:
    """The lists of a column as one array, copied only where they lie in several.

    Raises:
        DataError: a row has no list, or a list an element that is missing.
    """
    column = table[name]
    if column.null_count:
        raise DataError(f"column {name} has {column.null_count} nulls; fill them when preparing the data")
    if column.num_chunks == 1:
        lists = column.chunk(0)
    else:
        lists = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    missing = lists.flatten().null_count
    if missing:
        raise DataError(f"column {name} has {missing} nulls in its lists; fill them when preparing the data")
    return lists


def elements(table: pa.Table, name: str) -> NDArray[np.int64]:
    """The elements of a column of lists, the rows' lists end to end."""
    return np.asarray(lists_of(table, name).flatten().to_numpy())
