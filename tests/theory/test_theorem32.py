"""Theorem 3.2 in small, against a direct minimization and by algebra."""

import numpy as np
import pytest

from exfm_ray.config import Theorem32
from exfm_ray.theory.exponents import fit_exponent
from exfm_ray.theory.theorem32 import run_theorem32, students

SMALL = Theorem32(
    input_dim=16,
    adapter_dim=2,
    rows=600,
    input_dims=(8, 16, 32),
    adapter_dims=(1, 4, 16),
    row_counts=(300, 600, 1_200),
    noises=(1.0, 10.0, 100.0),
    outside=(0.0, 3.0),
    repeats=40,
)


def test_the_solutions_minimize_equation_13() -> None:
    draws = np.random.default_rng(1)
    x, y, teacher = draws.standard_normal((40, 5)), draws.standard_normal(40), draws.standard_normal(5)
    adapter = np.linalg.qr(draws.standard_normal((5, 2)))[0].T
    own, distilled, adapted = students(x, y, teacher, adapter, weight=0.7)
    # u minimizes the third term; then w' the first two, by descent
    u = np.linalg.lstsq(x @ adapter.T, y - x @ teacher, rcond=None)[0]
    for found, weight, target in (
        (own, 0.0, teacher),
        (distilled, 0.7, teacher),
        (adapted, 0.7, teacher + adapter.T @ u),
    ):
        w = np.zeros(5)
        for _ in range(4_000):
            w -= 0.005 * (x.T @ (x @ w - y) + weight * x.T @ (x @ (w - target)))
        np.testing.assert_allclose(found, w, atol=1e-9)


def test_the_ratio_and_the_exponents_follow_the_algebra() -> None:
    errors = list(run_theorem32(SMALL, 0))
    for made in errors:
        if made.varied != "outside":
            assert made.ratio == pytest.approx(made.setting.predicted_ratio, rel=0.1), made.setting
            assert made.least_squares == pytest.approx(made.setting.expected_error, rel=0.15), made.setting
    by_size = {name: [made for made in errors if made.varied == name] for name in ("noise", "rows")}
    noise = fit_exponent([made.setting.noise for made in by_size["noise"]], [[m.adapted for m in by_size["noise"]]])
    rows = fit_exponent([made.setting.rows for made in by_size["rows"]], [[m.adapted for m in by_size["rows"]]])
    assert noise.mean == pytest.approx(1.0, abs=0.05)
    assert rows.mean == pytest.approx(-0.5, abs=0.1)


def test_outside_of_the_adapters_reach_the_gain_is_lost() -> None:
    inside, outside = (made for made in run_theorem32(SMALL, 0) if made.varied == "outside")
    assert inside.ratio < 0.8
    assert outside.ratio > 1


def test_a_teacher_that_is_off_needs_its_adapter() -> None:
    made = next(iter(run_theorem32(SMALL.model_copy(update={"gap": 5.0}), 0)))
    assert made.adapted < made.distilled


def test_exponents_are_exact_on_a_power_law() -> None:
    sizes = [1.0, 2.0, 4.0]
    fitted = fit_exponent(sizes, [[3 * size**0.75 for size in sizes], [5 * size**0.25 for size in sizes]])
    assert fitted.mean == pytest.approx(0.5)
    assert fitted.sd == pytest.approx(0.25 * 2**0.5)
