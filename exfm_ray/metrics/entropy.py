"""LogLoss and normalized entropy (He 2014)."""

import math

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1e-15
"""Probabilities are kept this far from 0 and 1, so that one wrong certainty costs 34.5 nats, not infinity."""


def log_loss(probability: NDArray[np.floating], label: NDArray[np.floating | np.integer]) -> float | None:
    """Mean binary cross-entropy in nats, ExFM Eq. 1 with its minus sign; None for no rows.

    Args:
        probability: (n,) in [0, 1].
        label: (n,) in [0, 1]; a true probability gives the expected LogLoss.
    """
    if len(probability) == 0:
        return None
    p = np.clip(probability.astype(np.float64), SMALLEST, 1 - SMALLEST)
    y = label.astype(np.float64)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))


def entropy(rate: float) -> float:
    """Entropy in nats of a coin with this rate, in [0, 1]."""
    return 0.0 if rate in (0.0, 1.0) else -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))


def normalized_entropy(loss: float | None, base_rate: float | None) -> float | None:
    """LogLoss ÷ entropy of the base rate; 1 is a model that always says the base rate, 0 is a prophet.

    None where it is undefined: no rows, or a base rate of 0 or 1.
    """
    if loss is None or base_rate is None or not 0 < base_rate < 1:
        return None
    return loss / entropy(base_rate)
