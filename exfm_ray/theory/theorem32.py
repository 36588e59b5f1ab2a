"""Theorem 3.2: a student with an adapter comes closer to the truth than least squares (ExFM A.3).

y_i = x_iᵀ(w + z_i), x_i ~ N(0, I), z_i ~ N(0, γ²I). The teacher is ŵ, its adapter adds uᵀHx, H (s, d) orthonormal.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exfm_ray.config import Theorem32

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """One point of the grid."""

    input_dim: int
    adapter_dim: int
    rows: int
    noise: float
    gap: float
    """‖P_H(w − ŵ)‖ in expected errors of least squares: how far the teacher is off where its adapter can reach"""
    outside: float = 0.0
    """‖(I − P_H)(w − ŵ)‖ in the same unit; the theorem assumes 0"""

    @property
    def distill_weight(self) -> float:
        """α = (d/s)^¼ − 1, at which the bound of Eq. 15 holds."""
        return float((self.input_dim / self.adapter_dim) ** 0.25 - 1)

    @property
    def predicted_ratio(self) -> float:
        """√(s/d + (1 − s/d)/(1 + α)²): the noise's share s/d inside span(H) stays, the rest shrinks by 1 + α."""
        share = self.adapter_dim / self.input_dim
        return float((share + (1 - share) / (1 + self.distill_weight) ** 2) ** 0.5)

    @property
    def expected_error(self) -> float:
        """Of least squares with many rows, γ·d/√N: the noise x_iᵀz_i has variance γ²d, and there are d weights."""
        return float(self.noise * self.input_dim / self.rows**0.5)


@dataclass(frozen=True)
class Errors:
    """Distances from w at one setting and seed, root mean squares over the repeats."""

    seed: int
    varied: str
    """which size this point varies: `input_dim`, `adapter_dim`, `rows`, `noise` or `outside`"""
    setting: Setting
    least_squares: float
    distilled: float
    """with the teacher ŵ alone, no adapter"""
    adapted: float
    """w_V, with the adapter"""

    @property
    def ratio(self) -> float:
        return self.adapted / self.least_squares


def students(x: Array, y: Array, teacher: Array, adapter: Array, weight: float) -> tuple[Array, Array, Array]:
    """Minimizers w' of Eq. 13: without distillation (Eq. 11), with the teacher alone, and with its adapter (Eq. 14).

    The first two terms of Eq. 13 are α-weighted squares around two predictors, so that w' is their weighted mean.

    Args:
        x: (N, d); y: (N,); teacher: ŵ, (d,); adapter: H, (s, d); weight: α.
    """
    own = np.asarray(np.linalg.solve(x.T @ x, x.T @ y), dtype=np.float64)
    seen = x @ adapter.T
    correction = np.linalg.solve(seen.T @ seen, seen.T @ (y - x @ teacher))  # u, which no VM gradient reaches
    distilled = (own + weight * teacher) / (1 + weight)
    adapted = (own + weight * (teacher + adapter.T @ correction)) / (1 + weight)
    return own, distilled, adapted


def settings(config: Theorem32) -> Iterator[tuple[str, Setting]]:
    """The grid: every size varied on its own around the configured point."""
    base = (config.input_dim, config.adapter_dim, config.rows, config.noise)
    grids = (config.input_dims, config.adapter_dims, config.row_counts, config.noises)
    for place, (varied, values) in enumerate(zip(("input_dim", "adapter_dim", "rows", "noise"), grids, strict=True)):
        for value in values:
            sizes = [value if index == place else size for index, size in enumerate(base)]
            yield varied, Setting(int(sizes[0]), int(sizes[1]), int(sizes[2]), float(sizes[3]), config.gap)
    for outside in config.outside:
        yield "outside", Setting(*base, config.gap, outside)


def run_theorem32(config: Theorem32, seed: int) -> Iterator[Errors]:
    """The errors of one seed over the grid."""
    for place, (varied, setting) in enumerate(settings(config)):
        squares = np.zeros(3)
        for repeat in range(config.repeats):
            squares += _squared_errors(setting, np.random.default_rng([32, seed, place, repeat]))
        own, distilled, adapted = (float(value) for value in np.sqrt(squares / config.repeats))
        yield Errors(seed, varied, setting, own, distilled, adapted)


def _squared_errors(setting: Setting, draws: np.random.Generator) -> Array:
    dim, size = setting.input_dim, setting.adapter_dim
    frame = np.linalg.qr(draws.standard_normal((dim, min(dim, size + 1))))[0].T
    adapter, truth = frame[:size], draws.standard_normal(dim)
    gap = adapter.T @ draws.standard_normal(size)
    teacher = truth - setting.gap * setting.expected_error * gap / np.linalg.norm(gap)
    if setting.outside:
        teacher = teacher - setting.outside * setting.expected_error * frame[-1]
    x = draws.standard_normal((setting.rows, dim))
    # x_iᵀz_i given x_i is normal with variance γ²|x_i|², which spares drawing every z_i
    noise = setting.noise * np.linalg.norm(x, axis=1) * draws.standard_normal(setting.rows)
    made = students(x, x @ truth + noise, teacher, adapter, setting.distill_weight)
    return np.array([float(((weights - truth) ** 2).sum()) for weights in made])
