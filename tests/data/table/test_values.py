from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exfm_ray.data.hashing import text_id
from exfm_ray.data.location import Location
from exfm_ray.data.table.chunks import Cells
from exfm_ray.data.table.values import ids, levels, numbers, sequences
from exfm_ray.errors import UserError

NULLS = ("", "NULL")


def cells(values: Any, kind: Any = None) -> Cells:
    return Cells("c", pa.array(values, kind), Location.of("t.csv"), lambda row: f"line {row + 2}")


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=6))
def test_whole_numbers_are_themselves_in_any_type(values: list[int | None]) -> None:
    expected = [-1 if value is None else value for value in values]
    as_text = ["NULL" if value is None else f" {value} " for value in values]
    for given_values in (pa.array(values, pa.int64()), pa.array(as_text), pa.array([t.encode() for t in as_text])):
        found, missing = ids(cells(given_values), NULLS, -1)
        assert found.tolist() == expected
        assert missing == values.count(None)


def test_an_id_depends_on_its_own_text_alone() -> None:
    alone, _ = ids(cells(["12", "7"]), NULLS, -1)
    among_words, _ = ids(cells(["12", "shoe", "7", "012", "12.0", "1.5", str(2**64)]), NULLS, -1)
    assert among_words.tolist()[:3] == [alone[0], text_id("shoe"), alone[1]]
    assert among_words.tolist()[3:] == [12, 12, text_id("1.5"), text_id(str(2**64))]


def test_numbers_beyond_64_bits_with_a_sign_are_text() -> None:
    large = [7, None, 2**64 - 1]
    found, missing = ids(cells(large, pa.uint64()), NULLS, -1)
    assert found.tolist() == [7, -1, text_id(str(2**64 - 1))]
    assert missing == 1


def test_ids_that_a_missing_value_made_floats_are_whole_again() -> None:
    found, missing = ids(cells([3.0, None, 123_456_789_012.0, float("nan"), 1.5, 1e300]), NULLS, 0)
    assert found.tolist() == [3, 0, 123_456_789_012, 0, text_id("1.5"), text_id("1e+300")]
    assert missing == 2


def test_words_of_other_programs_are_read() -> None:
    assert numbers(cells(["true", "False", "1e3", "-2", " 5 ", "NULL"]), NULLS)[:5].tolist() == [1, 0, 1_000, -2, 5]
    assert levels(cells(["a", "", "3.0", "3"]), NULLS).to_pylist() == ["a", "missing", "3", "3"]
    assert levels(cells([1.0, None]), NULLS).to_pylist() == ["1", "missing"]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(0, 99)), max_size=8)), max_size=6),
    length=st.integers(1, 5),
)
def test_sequences_keep_their_last_ids(rows: list[list[int | None] | None], length: int) -> None:
    expected = [[value for value in row or [] if value is not None][-length:] for row in rows]
    lists, row_of = sequences(cells(rows, pa.list_(pa.int64())), NULLS, None, length)
    assert lists.to_pylist() == expected
    assert [row_of(index) for index in range(sum(map(len, expected)))] == [
        row for row, kept in enumerate(expected) for _ in kept
    ]
    as_text = ["|".join("" if value is None else str(value) for value in row or []) for row in rows]
    lists, _ = sequences(cells(as_text, pa.string()), NULLS, "|", length)
    assert lists.to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (pa.array([b"good", b"b\xe4d"]), ("line 3", "UTF-8", "iconv")),
        (pa.array([{"a": 1}]), ("struct", "plain values")),
    ],
)
def test_what_is_no_id_is_told(values: pa.Array, parts: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        ids(cells(values), NULLS, -1)
    for part in ("t.csv", "column 'c'", *parts):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_beyond_what_text_means_are_refused() -> None:
    for value in ("inf", "-Infinity", "1_000", "0x10", "five"):
        with pytest.raises(UserError, match="line 3"):
            numbers(cells(["1", value]), NULLS)
    with pytest.raises(UserError, match="line 3"):
        numbers(cells([1.0, np.inf]), NULLS)
