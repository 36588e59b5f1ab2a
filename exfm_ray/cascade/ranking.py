"""The highest of many scores, by request."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exfm_ray.errors import DataError


def highest(scores: NDArray[np.floating[Any]], count: int) -> NDArray[np.int64]:
    """(R, count) places of the highest scores of each row, in ascending order; of equal ones the first are taken.

    Args:
        scores: (R, n), n at least `count`.

    Raises:
        DataError: a score is not finite, so that there is no order.
    """
    if not np.isfinite(scores).all():
        raise DataError("a model gave a score that is not finite, so that its ads cannot be ranked")
    rows, size = scores.shape
    last = np.partition(scores, size - count, axis=1)[:, size - count, None]
    above, level = scores > last, scores == last
    room = count - above.sum(axis=1, keepdims=True)
    taken = above | (level & (level.cumsum(axis=1) <= room))
    return np.nonzero(taken)[1].reshape(rows, count)
