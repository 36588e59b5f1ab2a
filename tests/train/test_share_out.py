"""Sharing out passes over workers."""

from hypothesis import given
from hypothesis import strategies as st

from exfm_ray.train.share_out import READING, share_out

Shares = list[list[tuple[int, int]]]


def variants_of(shares: Shares) -> list[dict[int, int]]:
    """How many variants of each pass a worker has."""
    return [{index: sum(one == index for one, _ in share) for index, _ in share} for share in shares]


def loads(shares: Shares) -> list[float]:
    return [sum(READING + count for count in share.values()) for share in variants_of(shares)]


def test_the_dearest_goes_first_to_whoever_has_least() -> None:
    assert variants_of(share_out([4, 4, 4, 2, 9], 2)) == [{4: 9, 3: 2}, {0: 4, 1: 4, 2: 4}]
    assert variants_of(share_out([1, 1], 3)) == [{0: 1}, {1: 1}, {}]
    assert share_out([], 2) == [[], []]


def test_a_pass_stays_on_one_worker_where_that_is_as_quick() -> None:
    assert variants_of(share_out([4, 4, 4, 4], 2)) == [{0: 4, 2: 4}, {1: 4, 3: 4}]
    assert share_out([3], 1) == [[(0, 0), (0, 1), (0, 2)]]


def test_a_pass_is_split_rather_than_that_a_worker_is_idle() -> None:
    assert variants_of(share_out([12], 4)) == [{0: 3}, {0: 3}, {0: 3}, {0: 3}]
    assert variants_of(share_out([6, 2], 4)) == [{0: 2}, {1: 2}, {0: 2}, {0: 2}]
    assert variants_of(share_out([12, 1], 2)) == [{0: 7}, {0: 5, 1: 1}]
    assert variants_of(share_out([4, 4, 4], 2)) == [{0: 2, 2: 4}, {0: 2, 1: 4}]


def test_parts_of_a_pass_are_interleaved() -> None:
    assert share_out([6], 2) == [[(0, 0), (0, 2), (0, 4)], [(0, 1), (0, 3), (0, 5)]]


@given(st.lists(st.integers(1, 20), max_size=8), st.integers(1, 9))
def test_everything_is_trained_once_and_nobody_waits_long(passes: list[int], workers: int) -> None:
    shares = share_out(passes, workers)
    everything = [(index, variant) for index, variants in enumerate(passes) for variant in range(variants)]
    assert len(shares) == workers
    assert sorted(piece for share in shares for piece in share) == everything
    if passes and workers <= len(everything):
        assert max(loads(shares)) - min(loads(shares)) <= 2 + READING
