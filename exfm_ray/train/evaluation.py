"""What the predictions of one day are worth."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exfm_ray.metrics import auc, calibration, excess, log_loss, normalized_entropy, shifted_to_mean


def score(
    probability: NDArray[np.floating],
    label: NDArray[np.floating],
    base_rate: float | None,
    fm_prob: NDArray[np.floating] | None,
    truth: NDArray[np.floating] | None,
) -> dict[str, Any]:
    """Rows, positives and metrics of one line of results.jsonl.

    Args:
        probability, label, fm_prob, truth: (n,) each.
        base_rate: of the VM's training data, the base of `ne`; `ne_eval` uses that of `label`.
    """
    loss, eval_rate = log_loss(probability, label), float(label.mean()) if len(label) else None
    values: dict[str, Any] = {
        "rows": len(label),
        "positives": int(label.sum()),
        "ne": normalized_entropy(loss, base_rate),
        "ne_eval": normalized_entropy(loss, eval_rate),
        "logloss": loss,
        "auc": auc(probability, label),
        "calibration": calibration(probability, label),
        "calibration_fm": None if fm_prob is None else calibration(fm_prob, label),
        "ne_fm": None if fm_prob is None else normalized_entropy(log_loss(fm_prob, label), base_rate),
        "ne_oracle": None,
        "excess": None,
        "excess_shifted": None,
    }
    if truth is not None and len(label):
        values["ne_oracle"] = normalized_entropy(log_loss(truth, label), base_rate)
        values["excess"] = excess(probability, truth)
        values["excess_shifted"] = excess(shifted_to_mean(probability, truth), truth)
    return values
