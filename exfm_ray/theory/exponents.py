"""Exponents of power laws, fitted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Exponent:
    """Of a power law, fitted on each seed alone."""

    mean: float
    sd: float | None
    """over the seeds; None for one seed"""


def fit_exponent(sizes: Sequence[float], values_by_seed: Sequence[Sequence[float]]) -> Exponent:
    """The slope of log(value) on log(size) by least squares, seed by seed.

    Args:
        sizes: positive, at least two different ones.
        values_by_seed: positive, one per size, for every seed.
    """
    slopes = [float(np.polyfit(np.log(sizes), np.log(values), 1)[0]) for values in values_by_seed]
    return Exponent(float(np.mean(slopes)), float(np.std(slopes, ddof=1)) if len(slopes) > 1 else None)
