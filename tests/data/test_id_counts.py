"""Counting ids, and who gets a row."""

import numpy as np
import pytest

from exfm_ray.data import id_counts
from exfm_ray.data.id_counts import IdCounts, ranked


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_counts_add_up_over_events_and_days() -> None:
    day = IdCounts()
    day.add(integers(5, -1, 5))
    day.add(integers())
    day.add(integers(2**62, 5))
    ids, counts = day.merged()
    assert (ids.tolist(), counts.tolist()) == ([-1, 5, 2**62], [1, 3, 1])
    later = IdCounts(ids, counts)
    later.add(integers(6, -1))
    ids, counts = later.merged()
    assert (ids.tolist(), counts.tolist()) == ([-1, 5, 6, 2**62], [2, 3, 1, 1])


def test_nothing_counted_is_nothing() -> None:
    ids, counts = IdCounts().merged()
    assert (ids.tolist(), counts.tolist()) == ([], [])


def test_when_it_is_merged_changes_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 300, 10_000)
    monkeypatch.setattr(id_counts, "LEAST_PENDING", 50)
    counted = IdCounts()
    for start in range(0, len(values), 37):
        counted.add(values[start : start + 37])
    expected = np.unique(values, return_counts=True)
    assert all(np.array_equal(*pair) for pair in zip(counted.merged(), expected, strict=True))


def test_the_frequent_come_first_and_ties_by_id() -> None:
    ids, counts = integers(-3, 1, 4, 8, 9), integers(2, 5, 2, 1, 5)
    none = np.zeros(5, dtype=np.int64)
    assert ranked(ids, counts, none, least=2, most_rows=None).tolist() == [3, 1, 4, 0, 2]
    assert ranked(ids, counts, none, least=2, most_rows=3).tolist() == [3, 1, 0, 0, 2]
    assert ranked(ids, counts, none, least=6, most_rows=None).tolist() == [0, 0, 0, 0, 0]


def test_rows_that_are_given_stay_and_new_ones_are_appended() -> None:
    ids, counts, rows = integers(-3, 1, 4, 8, 9), integers(2, 5, 2, 1, 7), integers(1, 0, 0, 0, 2)
    assert ranked(ids, counts, rows, least=2, most_rows=None).tolist() == [1, 3, 4, 0, 2]
    assert ranked(ids, counts, rows, least=2, most_rows=3).tolist() == [1, 3, 0, 0, 2]
    assert ranked(ids, counts, rows, least=2, most_rows=2).tolist() == [1, 0, 0, 0, 2]
    assert ranked(integers(), integers(), integers(), least=2, most_rows=2).tolist() == []
