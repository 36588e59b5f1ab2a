"""What each user of a bucket had done before each impression: behaviours sorted, without copies, and looked up."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.data.logs.history import Histories, window_places
from exfm_ray.data.taobao.features import Integers


def behavior_histories(
    users: NDArray[Any], times: NDArray[Any], behaviors: Integers, begin: int, end: int
) -> tuple[Histories, int]:
    """Histories of (N,) behaviours, and how many exact copies of others were dropped.

    Behaviours of a user at the same second are ordered by their packed value, whatever the order of the file.

    Args:
        times: Unix seconds in [begin, end).
        behaviors: packed.
    """
    distinct, places = np.unique(users, return_inverse=True)
    moments = np.arange(begin, end)
    keys = places * (len(moments) + 1) + (times - begin)
    order = _sorted_by(keys, behaviors)
    keys, values = keys[order], behaviors[order]
    first = np.ones(len(keys), dtype=np.bool_)
    first[1:] = (keys[1:] != keys[:-1]) | (values[1:] != values[:-1])
    return Histories(pd.Index(distinct), moments, keys[first], values[first]), int((~first).sum())


def _sorted_by(keys: Integers, values: Integers) -> Integers:
    """(N,) rows by (key, value). Few keys are equal, so that only their rows are sorted by value too."""
    order = np.argsort(keys)
    ordered = keys[order]
    equal = np.zeros(len(keys), dtype=np.bool_)
    equal[1:] = ordered[1:] == ordered[:-1]
    equal[:-1] |= equal[1:]
    places = np.flatnonzero(equal)
    tied = order[places]
    order[places] = tied[np.lexsort((values[tied], keys[tied]))]
    return order


def with_histories(rows: pa.Table, histories: Histories, length: int) -> pa.Table:
    """Rows with their users' latest behaviours before them, each behaviour stored once for the rows near each other.

    Adds `fresh`, the packed behaviours of a row that its user's row before has not, and `length`: a row's history is
    the last `length` values of what is fresh up to it.

    Args:
        rows: ordered by user, then by time.
        length: at most so many behaviours per row, oldest first.
    """
    users = rows["user"].to_numpy()
    begins, ends = histories.windows(users, rows["time"].to_numpy(), length)
    begins_fresh = begins.copy()
    follows = users[1:] == users[:-1]
    begins_fresh[1:][follows] = np.maximum(begins[1:], ends[:-1])[follows]
    offsets, places = window_places(begins_fresh, ends)
    fresh = pa.ListArray.from_arrays(offsets, histories.values[places])
    return rows.append_column("fresh", fresh).append_column("length", pa.array((ends - begins).astype(np.int16)))


def whole_histories(rows: pa.Table, order: Integers) -> pa.ListArray:
    """The packed histories of rows that `with_histories` made, in another order.

    Args:
        rows: one or several such tables in one chunk.
        order: (N,) rows.
    """
    fresh = rows["fresh"].combine_chunks()
    ends = np.cumsum(fresh.value_lengths().to_numpy())[order]
    offsets, places = window_places(ends - rows["length"].to_numpy()[order], ends)
    return pa.ListArray.from_arrays(offsets, fresh.flatten().to_numpy()[places])
