from itertools import pairwise

import numpy as np
import pytest

from exfm_ray.data.logs.history import BEFORE_ALL, Histories


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def lists(offsets: np.ndarray, values: np.ndarray) -> list[list[int]]:
    return [values[begin:end].tolist() for begin, end in pairwise(offsets)]


def test_last_values_strictly_before_oldest_first() -> None:
    histories = Histories.of(integers(7, 7, 3, 7), integers(10, 20, 15, 30), integers(1, 2, 9, 3))
    users, times = integers(7, 7, 7, 3, 3, 5), integers(10, 30, 31, 15, 16, 99)
    assert lists(*histories.before(users, times, 2)) == [[], [1, 2], [2, 3], [], [9], []]


def test_one_moment_keeps_the_given_order_and_is_never_before_itself() -> None:
    histories = Histories.of(integers(1, 1, 1), integers(5, 5, 4), integers(30, 20, 10))
    assert lists(*histories.before(integers(1, 1), integers(5, 6), 9)) == [[10], [10, 30, 20]]


def test_untimed_entries_come_before_all_events() -> None:
    histories = Histories.of(integers(1, 1, 1), integers(0, BEFORE_ALL, BEFORE_ALL), integers(3, 1, 2))
    assert lists(*histories.before(integers(1, 1), integers(-(2**60), 1), 9)) == [[1, 2], [1, 2, 3]]


def test_no_entries_at_all() -> None:
    histories = Histories.of(integers(), integers(), integers())
    assert lists(*histories.before(integers(1, 2), integers(5, 5), 3)) == [[], []]
    assert lists(*histories.before(integers(), integers(), 3)) == []


@pytest.mark.parametrize("length", [1, 4, 50])
def test_equals_a_plain_loop(length: int) -> None:
    rng = np.random.default_rng(3)
    users, times = rng.integers(-5, 12, 400), rng.integers(-40, 40, 400)
    values = rng.integers(0, 1_000, 400)
    asked_users, asked_times = rng.integers(-7, 15, 300), rng.integers(-45, 45, 300)
    expected = []
    for user, time in zip(asked_users, asked_times, strict=True):
        earlier = [row for row in range(400) if users[row] == user and times[row] < time]
        expected.append([int(values[row]) for row in sorted(earlier, key=lambda row: times[row])][-length:])
    assert lists(*Histories.of(users, times, values).before(asked_users, asked_times, length)) == expected
