"""What each user of a bucket had done before each impression: behaviours sorted, without copies, and looked up."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from exfm_ray.data.history import Histories
from exfm_ray.data.taobao_features import Integers


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
