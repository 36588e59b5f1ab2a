import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from exfm_ray.data.location import Location
from exfm_ray.data.logs.text_table import TextTable, text_table
from exfm_ray.errors import UserError

TYPES = {"user": pa.int64(), "price": pa.float64(), "name": pa.string()}


def stored(directory: Path, content: str | bytes, name: str = "log.csv") -> Location:
    raw = content.encode() if isinstance(content, str) else content
    (directory / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return Location.of(str(directory / name))


def rows_of(table: TextTable, range_bytes: int = 1_000, block_bytes: int = 1_000) -> list[dict[str, Any]]:
    blocks = [block for lines in table.ranges(range_bytes) for block in table.blocks(lines, block_bytes)]
    return [row for block in blocks for row in block.rows.to_pylist()]


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_rows_are_read_whatever_the_sizes(tmp_path: Path, name: str) -> None:
    text = '\ufeffname,user,other,price \r\nx,1,,2.5\r\n\r\n"a,b",2,?,NULL\r\n,-3,,\r\n'
    table = text_table(stored(tmp_path, text, name), TYPES, nullable=["price", "name"])
    expected = [
        {"user": 1, "price": 2.5, "name": "x"},
        {"user": 2, "price": None, "name": "a,b"},
        {"user": -3, "price": None, "name": None},
    ]
    for range_bytes in range(1, 70, 3):
        assert rows_of(table, range_bytes, 5) == rows_of(table, range_bytes) == expected


def test_tabs_without_a_header(tmp_path: Path) -> None:
    table = TextTable(stored(tmp_path, "1\t0.5\n2\t1\n"), ("user", "price"), {"price": pa.float32()}, delimiter="\t")
    assert rows_of(table) == [{"price": 0.5}, {"price": 1.0}]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("", "line 1: found nothing, expected a header"),
        ("user,price\n", "line 1: found user, price, expected a column name"),
        ("user,name,price,user\n", "line 1: found the column user twice, expected each column once"),
        ("user\tname\tprice\n", "line 1: found names separated by tabs, expected commas"),
        (b"user,n\xff,price\n", "line 1: byte 7 is not UTF-8, expected a header in UTF-8"),
        (gzip.compress(b"user,name,price\n"), "line 1: found a gzip, expected text, or a name that ends in .gz"),
    ],
)
def test_a_wrong_header_is_told(tmp_path: Path, header: str | bytes, told: str) -> None:
    place = stored(tmp_path, header)
    with pytest.raises(UserError) as error:
        text_table(place, TYPES)
    assert str(error.value) == f"data.path: {place}, {told}; mend the file's header"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("x,1,n", ", column user: found 'x', expected a whole number that fits int64; mend that line"),
        ("1.5,1,n", ", column user: found '1.5', expected a whole number that fits int64; mend that line"),
        (",1,n", ", column user: found nothing, expected a whole number that fits int64; mend that line"),
        ("NULL,1,n", ", column user: found 'NULL', expected a whole number that fits int64; mend that line"),
        ("1,2,3,4", ": found 4 columns, expected 3 separated by commas; mend that line"),
        ("1\t2\tn", ": found 1 columns, expected 3 separated by commas; mend that line"),
        ("1,two,n", ", column price: found 'two', expected a number; mend that line"),
        (b"1,2,n\xff", r", column name: found 'n\\xff', expected text in UTF-8; mend that line"),
    ],
)
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_a_wrong_row_is_told_with_its_line(tmp_path: Path, name: str, line: str | bytes, told: str) -> None:
    raw = line.encode() if isinstance(line, str) else line
    content = b"user,price,name\n" + b"1,2.0,n\n\n" * 100 + raw + b"\n" + b"bad,again,n\n"
    place = stored(tmp_path, content, name)
    for block_bytes in (20, 10_000):
        with pytest.raises(UserError) as error:
            rows_of(text_table(place, TYPES), 10_000, block_bytes)
        assert str(error.value) == f"data.path: {place}, line 202{told}"


def test_a_last_line_that_is_cut_is_told(tmp_path: Path) -> None:
    place = stored(tmp_path, "user,price,name\n1,2.0,n\n1,2.")
    with pytest.raises(UserError, match=r"line 3: found 2 columns, .*; the file is cut off, fetch it anew"):
        rows_of(text_table(place, TYPES))


def test_a_reader_tells_the_line_of_its_own_mistakes(tmp_path: Path) -> None:
    table = text_table(stored(tmp_path, "user,price,name\n1,2,a\n\n1,3,b\n1,4,c\n"), TYPES)
    (block,) = table.blocks(table.ranges()[0])
    error = table.mistake(block, 2, "price", "less than 4")
    assert (
        str(error) == f"data.path: {table.place}, line 5, column price: found '4', expected less than 4; mend that line"
    )
