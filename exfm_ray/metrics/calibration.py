"""Calibration."""

import numpy as np
from numpy.typing import NDArray


def calibration(probability: NDArray[np.floating], label: NDArray[np.floating | np.integer]) -> float | None:
    """Mean prediction ÷ mean label; 1 is calibrated, above 1 promises too much. None without a positive."""
    positives = float(label.astype(np.float64).sum())
    return float(probability.astype(np.float64).sum() / positives) if positives > 0 else None
