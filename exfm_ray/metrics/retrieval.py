"""How much of the best a selection holds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def recall(kept: NDArray[np.integer[Any]], best: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Row by row, the share of the best that was kept.

    Args:
        kept: (R, k) distinct non-negative numbers in each row.
        best: (R, m) likewise, m at least 1.

    Returns:
        (R,) in [0, 1]
    """
    base = max(int(kept.max()), int(best.max())) + 1
    rows = np.arange(len(kept))[:, None] * base
    held: NDArray[np.float64] = np.isin(best + rows, kept + rows).mean(axis=1)
    return held
