"""Theorem 3.1 in small, against what can be computed otherwise."""

from collections import defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray

from exfm_ray.config import Theorem31
from exfm_ray.theory.theorem31 import Heads, run_theorem31, single_head_bias, slowest_rate

SMALL = Theorem31(input_dim=6, model_dim=3, teacher_biases=(0.5,), steps=6_000, learning_rate=0.02, rows_per_step=32)


def test_the_single_head_keeps_the_predicted_bias_and_auxiliary_heads_lose_theirs() -> None:
    last: dict[str, list[float]] = defaultdict(list)
    for seed in (0, 1):
        for bias in run_theorem31(SMALL, seed):
            if bias.step == SMALL.steps:
                last[bias.model].append(bias.bias)
    assert last["single head"] == pytest.approx([single_head_bias(SMALL, 0.5)] * 2, abs=1e-4)
    assert max(last["auxiliary heads, near start"]) < 1e-3
    assert max(last["auxiliary heads, random start"]) < single_head_bias(SMALL, 0.5) / 10


def test_the_prediction_is_that_of_the_appendix() -> None:
    """d = 4, mu = 0.5, the label weighs a half: mu times the norm of (1/6, 1/6, 1/6)."""
    assert single_head_bias(Theorem31(), 0.5) == pytest.approx(0.5 * 3**0.5 / 6)


def test_the_slowest_rate_is_the_smallest_eigenvalue_of_a() -> None:
    """A's eigenvalues at d = 4, mu = 0.5 reach from 0.06 to 4.19; the ends solve l² − (4 + mu²) l + mu² = 0."""
    smallest = (4.25 - (4.25**2 - 1) ** 0.5) / 2
    assert slowest_rate(Theorem31(learning_rate=0.01), 0.5) == pytest.approx(1 - 0.02 * smallest)


def loss(
    heads: NDArray[np.float64], shared: NDArray[np.float64], targets: NDArray[np.float64], x: NDArray[np.float64]
) -> float:
    return float((((heads @ shared - targets) @ x.T) ** 2).sum() / len(x))


def test_a_step_goes_down_the_numerical_gradient() -> None:
    draws = np.random.default_rng(0)
    heads, shared, targets, x = (draws.standard_normal(shape) for shape in ((3, 3), (3, 5), (3, 5), (7, 5)))
    model = Heads(heads.copy(), shared.copy())
    model.descend(targets, x, 0.1)
    for place in ((0, 0), (2, 1)):
        nudge = np.zeros_like(heads)
        nudge[place] = 1e-6
        slope = (loss(heads + nudge, shared, targets, x) - loss(heads - nudge, shared, targets, x)) / 2e-6
        assert heads[place] - model.heads[place] == pytest.approx(0.1 * slope, rel=1e-5)
        nudge = np.zeros_like(shared)
        nudge[place] = 1e-6
        slope = (loss(heads, shared + nudge, targets, x) - loss(heads, shared - nudge, targets, x)) / 2e-6
        assert shared[place] - model.shared[place] == pytest.approx(0.1 * slope, rel=1e-5)
