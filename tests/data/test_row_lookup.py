"""Rows of ids, found by place or by hash: as a dictionary would find them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exfm_ray.data.blocks import BLOCK, in_blocks
from exfm_ray.data.row_lookup import DenseLookup, HashedLookup, row_lookup

LEAST, MOST = -(2**63), 2**63 - 1
EDGES = st.sampled_from([LEAST, LEAST + 1, -1, 0, 1, MOST - 1, MOST])


@st.composite
def known_and_asked(draw: st.DrawFn, integers: st.SearchStrategy[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, their rows, and values that are ids, neighbours of ids, or anything."""
    ids = np.array(sorted(draw(st.sets(integers, min_size=1, max_size=40))), dtype=np.int64)
    rows = np.array(draw(st.permutations(range(1, len(ids) + 1))), dtype=np.int64)
    near = st.sampled_from([int(one) for one in ids]).flatmap(
        lambda one: st.integers(max(LEAST, one - 2), min(MOST, one + 2))
    )
    asked = draw(st.lists(st.one_of(near, EDGES, st.integers(LEAST, MOST)), max_size=60))
    return ids, rows, np.array(asked, dtype=np.int64)


def as_a_dictionary(ids: np.ndarray, rows: np.ndarray, values: np.ndarray) -> list[int]:
    known = dict(zip(ids.tolist(), rows.tolist(), strict=True))
    return [known.get(value, len(ids) + 1) for value in values.tolist()]


@settings(deadline=None)
@given(known_and_asked(st.one_of(EDGES, st.integers(LEAST, MOST))))
def test_any_ids_are_found(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    ids, rows, values = case
    assert row_lookup(ids, rows)(values).tolist() == as_a_dictionary(ids, rows, values)
    assert HashedLookup.of(ids, rows, len(ids) + 1)(values).tolist() == as_a_dictionary(ids, rows, values)


@pytest.mark.parametrize("first", [LEAST, -7, 0, 2**40, MOST - 2_000])
@settings(deadline=None)
@given(case=known_and_asked(st.integers(0, 2_000)))
def test_ids_that_lie_together_are_found_by_place_also_at_the_ends_of_the_integers(
    first: int, case: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    offsets, rows, values = case
    ids = offsets + first
    assert isinstance(row_lookup(ids, rows), DenseLookup)
    for asked in (values, ids, ids[:1] - 1, ids[-1:] + 1):  # the neighbours of the ends may wrap around
        assert row_lookup(ids, rows)(asked).tolist() == as_a_dictionary(ids, rows, asked)


def test_a_table_of_places_is_never_much_larger_than_what_is_known() -> None:
    ids = np.array([0, 65_536], dtype=np.int64)
    assert isinstance(row_lookup(ids, np.array([2, 1])), HashedLookup)
    assert isinstance(row_lookup(ids[:1], np.array([1])), DenseLookup)
    many = np.arange(0, 400_000, 5, dtype=np.int64)
    assert isinstance(row_lookup(many, np.arange(1, len(many) + 1)), HashedLookup)
    assert isinstance(row_lookup(many // 5 * 4, np.arange(1, len(many) + 1)), DenseLookup)


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_values_worked_on_in_blocks_are_each_worked_on_once(count: int) -> None:
    values = np.arange(count, dtype=np.int64)
    blocks: list[int] = []

    def doubled(block: np.ndarray) -> np.ndarray:
        blocks.append(len(block))
        return block * 2

    assert np.array_equal(in_blocks(doubled, values), np.arange(count) * 2)
    assert sum(blocks) == count
    assert all(block <= BLOCK for block in blocks)
    assert np.array_equal(values, np.arange(count))
