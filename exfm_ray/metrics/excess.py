"""Distance to the true probability, free of the labels' noise. Only a synthetic stream knows the truth."""

import numpy as np
from numpy.typing import NDArray

from exfm_ray.metrics.entropy import SMALLEST, log_loss, normalized_entropy


def excess(probability: NDArray[np.floating], truth: NDArray[np.floating]) -> float | None:
    """XS: mean KL(truth ‖ probability) ÷ entropy of the mean truth; 0 is the best possible model.

    Args:
        probability: (n,) in [0, 1].
        truth: (n,) in (0, 1).
    """
    cross, own = log_loss(probability, truth), log_loss(truth, truth)
    if cross is None or own is None:
        return None
    return normalized_entropy(max(cross - own, 0.0), float(np.mean(truth, dtype=np.float64)))


def shifted_to_mean(probability: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.float64]:
    """The probabilities after the one shift of all logits that makes their mean the truth's mean, to 1e-12.

    `excess` of these is XSD: what skill lacks, without the drift of the base rate that nobody can foresee.
    """
    p = np.clip(probability.astype(np.float64), SMALLEST, 1 - SMALLEST)
    logit, target = np.log(p) - np.log1p(-p), float(np.mean(truth, dtype=np.float64))
    low, high = -40.0, 40.0
    for _ in range(100):
        shift = (low + high) / 2
        mean = float(np.mean(1 / (1 + np.exp(-(logit + shift)))))
        low, high = (shift, high) if mean < target else (low, shift)
        if abs(mean - target) < 1e-12:
            break
    return np.asarray(1 / (1 + np.exp(-(logit + shift))), dtype=np.float64)
