"""Lists that overlap, stored once: whatever the lists and their owners, they come back."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exfm_ray.data.windows import Windows
from exfm_ray.errors import DataError

INTEGERS = st.integers(0, 2)
LISTS = st.lists(st.lists(INTEGERS, max_size=5), max_size=12)


def arrow(lists: list[list[int]]) -> pa.ListArray:
    return pa.array(lists, pa.list_(pa.int64()))


def histories(users: int, rows: int, length: int, seed: int) -> tuple[list[list[int]], list[int]]:
    """Rows of users who come back with up to two more behaviours each time, the last `length` of them kept."""
    generator = np.random.default_rng(seed)
    seen: dict[int, list[int]] = {user: [] for user in range(users)}
    lists, owners = [], []
    for _ in range(rows):
        user = int(generator.integers(users))
        seen[user] += generator.integers(0, 100, int(generator.integers(0, 3))).tolist()
        lists.append(seen[user][-length:])
        owners.append(user)
    return lists, owners


@settings(deadline=None)
@given(LISTS, st.lists(st.integers(-1, 2), min_size=12, max_size=12), st.integers(0, 3))
def test_any_lists_come_back(lists: list[list[int]], owners: list[int], first: int) -> None:
    array = arrow([[7] * first, *lists]).slice(1)  # elements that do not begin where their memory does
    keys = np.array(owners[: len(lists)], dtype=np.int64)
    for windows in (Windows.of(array, keys), Windows.of(array, None)):
        assert windows.lists().to_pylist() == lists
    assert Windows.of(array, None).elements.tolist() == [element for one in lists for element in one]


def test_what_a_users_histories_share_is_stored_once() -> None:
    lists = [[1, 2, 3], [8], [2, 3, 4], [2, 3, 4], [8, 9], [3, 4, 5], []]
    windows = Windows.of(arrow(lists), np.array([5, -3, 5, 5, -3, 5, -3]))
    assert windows.elements.tolist() == [8, 9, 1, 2, 3, 4, 5]
    assert windows.lists().to_pylist() == lists


def test_the_longest_overlap_is_found_where_elements_repeat() -> None:
    windows = Windows.of(arrow([[1, 1, 1, 2], [1, 1, 2, 1], [1, 2, 1, 1]]), np.zeros(3, dtype=np.int64))
    assert windows.elements.tolist() == [1, 1, 1, 2, 1, 1]


@pytest.mark.parametrize("length", [3, 50])
def test_a_users_elements_are_as_many_as_the_user_did(length: int) -> None:
    lists, owners = histories(users=20, rows=600, length=length, seed=length)
    windows = Windows.of(arrow(lists), np.array(owners))
    assert windows.lists().to_pylist() == lists
    added = 0
    for user in range(20):
        own = [one for one, owner in zip(lists, owners, strict=True) if owner == user]
        added += len(own[0])
        for before, after in pairwise(own):
            most = min(len(before), len(after))
            added += len(after) - next(n for n in range(most, -1, -1) if before[len(before) - n :] == after[:n])
    assert len(windows.elements) == added < 0.75 * sum(map(len, lists))


def test_lists_that_share_little_keep_their_order_and_are_not_copied() -> None:
    lists = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [9, 1, 2]]
    windows = Windows.of(arrow(lists), np.array([1, 0, 1, 1]))
    assert windows.elements.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 1, 2]
    found = windows.lists()
    assert found.to_pylist() == lists
    assert found.values.buffers()[1].address == windows.elements.ctypes.data


@pytest.mark.parametrize(
    ("begins", "lengths"), [([0, 3], [3, 3]), ([-1], [1]), ([2], [-1]), ([4, 0], [2, 1]), ([0, 2], [2, 2**40])]
)
def test_windows_beyond_the_elements_are_refused(begins: list[int], lengths: list[int]) -> None:
    windows = Windows(np.arange(5), np.array(begins), np.array(lengths))
    with pytest.raises(DataError, match="of 5 elements"):
        windows.lists()
