"""Area under the ROC curve."""

import numpy as np
from numpy.typing import NDArray


def auc(score: NDArray[np.floating], label: NDArray[np.floating | np.integer]) -> float | None:
    """Probability that a positive scores above a negative, ties counting half; None where one class is missing.

    Args:
        score: (n,), any monotone score.
        label: (n,), 0 or 1.
    """
    positive = label > 0
    positives = int(positive.sum())
    negatives = len(label) - positives
    if positives == 0 or negatives == 0:
        return None
    _, value, count = np.unique(score, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(count)
    mean_rank = last_rank - (count - 1) / 2
    rank_sum = float(mean_rank[value[positive]].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
