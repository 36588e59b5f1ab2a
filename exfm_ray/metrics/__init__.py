"""NE, LogLoss, AUC, calibration and the distance to the truth. Pure functions of numpy arrays."""

from exfm_ray.metrics.auc import auc
from exfm_ray.metrics.calibration import calibration
from exfm_ray.metrics.entropy import entropy, log_loss, normalized_entropy
from exfm_ray.metrics.excess import excess, shifted_to_mean
from exfm_ray.metrics.retrieval import recall

__all__ = ["auc", "calibration", "entropy", "excess", "log_loss", "normalized_entropy", "recall", "shifted_to_mean"]
