import numpy as np
import pytest

from exfm_ray.cascade.ranking import highest
from exfm_ray.errors import DataError
from exfm_ray.metrics import recall


def test_the_highest_are_found_and_the_first_of_equals_taken() -> None:
    scores = np.array([[3.0, 1.0, 3.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    assert highest(scores, 2).tolist() == [[0, 2], [0, 1], [3, 4]]
    assert highest(scores, 5).tolist() == [[0, 1, 2, 3, 4]] * 3


def test_many_are_those_of_a_stable_sort() -> None:
    scores = np.random.default_rng(0).integers(0, 40, (50, 100)).astype(np.float32)
    expected = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :30], axis=1)
    assert np.array_equal(highest(scores, 30), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_without_an_order_are_a_failure(value: float) -> None:
    with pytest.raises(DataError, match="not finite"):
        highest(np.array([[0.0, value, 1.0]]), 1)


def test_recall_is_the_share_of_the_best_that_is_kept() -> None:
    kept = np.array([[1, 2, 3], [7, 8, 9]])
    best = np.array([[3, 1], [1, 7]])
    assert recall(kept, best).tolist() == [1.0, 0.5]
    assert recall(best, kept).tolist() == [2 / 3, 1 / 3]
