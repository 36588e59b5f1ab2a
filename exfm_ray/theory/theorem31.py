"""Theorem 3.1: a single head keeps the teachers' bias, auxiliary heads do not (ExFM A.2).

y = u_1ᵀZx, and d − 1 teachers say w_kᵀZx with w_k = u_1 + μ·u_k, u orthonormal. Z has orthonormal rows here, so that
distances between predictors Zᵀw are those between the w. All models are trained by gradient descent, on fresh
x ~ N(0, I) at each step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exfm_ray.config import Theorem31

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BiasAtStep:
    """How far a model's serving predictor is from Zᵀu_1 after some steps."""

    seed: int
    teacher_bias: float
    model: str
    """`single head`, `auxiliary heads, near start` or `auxiliary heads, random start`"""
    step: int
    bias: float
    """‖predictor − Zᵀu_1‖"""
    predicted: float
    """single head: μ·√Σα_k², where it ends; near start: Eq. 10's slowest mode; random start: 0, where it ends"""


@dataclass
class Heads:
    """d linear heads W (d, d) on a shared Z_t (d, D); or one head, v (1, d) on H (d, D)."""

    heads: Array
    shared: Array

    def descend(self, targets: Array, x: Array, rate: float) -> None:
        """One step on the mean over x of Σ_k |⟨w_k, Z_t x⟩ − target_k·x|².

        Args:
            targets: (K, D), each head's label as a function of x.
            x: (B, D).
        """
        errors = (self.heads @ self.shared - targets) @ x.T  # (K, B)
        scale = 2 * rate / len(x)
        of_heads = errors @ (x @ self.shared.T)
        of_shared = self.heads.T @ (errors @ x)
        self.heads = self.heads - scale * of_heads
        self.shared = self.shared - scale * of_shared

    def predictor(self) -> Array:
        """Z_tᵀw^1, (D,), of the head that serves."""
        predictor: Array = self.heads[0] @ self.shared
        return predictor


def single_head_bias(config: Theorem31, teacher_bias: float) -> float:
    """‖Hᵀv − Zᵀu_1‖ = μ·√Σ_{k≥2} α_k², what the smoothed label leaves."""
    teachers = config.model_dim - 1
    return float(teacher_bias * (1 - config.label_weight) / teachers**0.5)


def slowest_rate(config: Theorem31, teacher_bias: float) -> float:
    """1 − 2η·λ_min(A), A = Σ_k w_k w_kᵀ: what is left of Z_t − Z after a step, at least (Eq. 10)."""
    heads = _truth(config, teacher_bias)
    return float(1 - 2 * config.learning_rate * np.linalg.eigvalsh(heads.T @ heads)[0])


def run_theorem31(config: Theorem31, seed: int) -> Iterator[BiasAtStep]:
    """The biases of one seed, at steps spaced evenly in their logarithm."""
    for teacher_bias in config.teacher_biases:
        yield from _run(config, seed, teacher_bias)


def _truth(config: Theorem31, teacher_bias: float) -> Array:
    """u_1 and the teachers w_k as rows, (d, d), in the basis u."""
    heads = teacher_bias * np.eye(config.model_dim)
    heads[:, 0] = 1.0
    heads[0] = np.eye(config.model_dim)[0]
    return heads


def _run(config: Theorem31, seed: int, teacher_bias: float) -> Iterator[BiasAtStep]:
    draws = np.random.default_rng([31, seed])
    basis = np.linalg.qr(draws.standard_normal((config.input_dim, config.model_dim)))[0].T  # Z, (d, D)
    truth = _truth(config, teacher_bias)
    weights = np.full(config.model_dim, (1 - config.label_weight) / (config.model_dim - 1))
    weights[0] = config.label_weight
    labels = truth @ basis
    models = _models(config, truth, basis, draws)
    goal, left = labels[0], slowest_rate(config, teacher_bias)
    start = float(np.linalg.norm(models["auxiliary heads, near start"].predictor() - goal))
    report_at = set(np.unique(np.geomspace(1, config.steps, 40).round().astype(int)).tolist())
    for step in range(1, config.steps + 1):
        x = draws.standard_normal((config.rows_per_step, config.input_dim))
        for name, model in models.items():
            targets = weights[None] @ labels if name == "single head" else labels
            model.descend(targets, x, config.learning_rate)
            if step in report_at:
                predicted = {
                    "single head": single_head_bias(config, teacher_bias),
                    "auxiliary heads, near start": start * left**step,
                }.get(name, 0.0)
                bias = float(np.linalg.norm(model.predictor() - goal))
                yield BiasAtStep(seed, teacher_bias, name, step, bias, predicted)


def _models(config: Theorem31, truth: Array, basis: Array, draws: np.random.Generator) -> dict[str, Heads]:
    """The three models at their starts; near Z, the heads start at their optimum for Z_t, as Eq. 9 takes them to be."""
    size, dim = config.model_dim, config.input_dim

    def random(rows: int) -> Heads:
        heads, shared = draws.standard_normal((rows, size)), draws.standard_normal((size, dim))
        return Heads(heads / size**0.5, shared / dim**0.5)

    noise = draws.standard_normal((size, dim))
    near = basis + config.near * np.linalg.norm(basis) * noise / np.linalg.norm(noise)
    optimal = np.linalg.solve(near @ near.T, near @ basis.T @ truth.T).T
    return {
        "single head": random(1),
        "auxiliary heads, near start": Heads(optimal, near),
        "auxiliary heads, random start": random(size),
    }
