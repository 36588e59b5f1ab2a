"""Metrics against literals, and against an independent implementation."""

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from exfm_ray.metrics import auc, calibration, entropy, excess, log_loss, normalized_entropy, shifted_to_mean


def test_entropy_of_a_fair_coin_is_log_two() -> None:
    assert entropy(0.5) == pytest.approx(math.log(2), abs=1e-15)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_certainty_has_no_entropy(rate: float) -> None:
    assert entropy(rate) == 0.0


def test_log_loss_literal() -> None:
    assert log_loss(np.array([0.5, 0.25]), np.array([1, 0])) == pytest.approx((math.log(2) - math.log(0.75)) / 2)


def test_a_wrong_certainty_is_finite() -> None:
    assert log_loss(np.array([0.0]), np.array([1])) == pytest.approx(34.538776, abs=1e-5)


def test_ne_of_always_saying_the_base_rate_is_one() -> None:
    labels = np.array([1, 0, 0, 0])
    assert normalized_entropy(log_loss(np.full(4, 0.25), labels), 0.25) == pytest.approx(1.0, abs=1e-12)


def test_ne_literal_with_another_base() -> None:
    # log 2 over the entropy of 0.1: 0.693147 / 0.325083
    assert normalized_entropy(log_loss(np.array([0.5, 0.5]), np.array([1, 0])), 0.1) == pytest.approx(
        2.132217, abs=1e-6
    )


@pytest.mark.parametrize("base", [None, 0.0, 1.0])
def test_ne_without_a_usable_base_is_undefined(base: float | None) -> None:
    assert normalized_entropy(0.3, base) is None


def test_no_rows_have_no_loss() -> None:
    assert log_loss(np.array([]), np.array([])) is None


def test_auc_literals() -> None:
    assert auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])) == pytest.approx(0.75)
    assert auc(np.array([0.5, 0.5]), np.array([0, 1])) == pytest.approx(0.5)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], []])
def test_auc_of_one_class_is_undefined(labels: list[int]) -> None:
    assert auc(np.linspace(0, 1, len(labels)), np.array(labels)) is None


def test_against_scikit_learn_with_ties() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 5_000)
    scores = np.round(np.clip(0.3 * labels + generator.random(5_000) * 0.7, 0.01, 0.99), 2)
    assert auc(scores, labels) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
    assert log_loss(scores, labels) == pytest.approx(reference.log_loss(labels, scores), abs=1e-12)


def test_calibration_literals() -> None:
    assert calibration(np.array([0.5, 0.7]), np.array([1, 0])) == pytest.approx(1.2)
    assert calibration(np.array([0.5]), np.array([0])) is None


def test_excess_of_the_truth_is_zero() -> None:
    truth = np.array([0.1, 0.3])
    assert excess(truth, truth) == 0.0


def test_excess_literal() -> None:
    # KL(0.5 ‖ 0.25) = 0.5 log 2 + 0.5 log(2/3) = 0.143841; entropy of 0.5 = 0.693147
    assert excess(np.array([0.25]), np.array([0.5])) == pytest.approx(0.207519, abs=1e-6)


def test_the_shift_matches_the_mean_and_keeps_the_order() -> None:
    generator = np.random.default_rng(1)
    truth, predicted = generator.uniform(0.01, 0.2, 1_000), generator.uniform(0.1, 0.9, 1_000)
    shifted = shifted_to_mean(predicted, truth)
    assert shifted.mean() == pytest.approx(truth.mean(), abs=1e-11)
    assert np.array_equal(np.argsort(shifted), np.argsort(predicted))


def test_a_pure_shift_has_no_excess_left() -> None:
    truth = np.array([0.1, 0.3, 0.5])
    moved = 1 / (1 + np.exp(-(np.log(truth / (1 - truth)) + 1.5)))
    assert excess(moved, truth) > 0.1
    assert excess(shifted_to_mean(moved, truth), truth) == pytest.approx(0.0, abs=1e-12)
