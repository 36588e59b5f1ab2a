"""The form of our Parquet files: whatever a table holds comes back, also from files of other forms, checked."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exfm_ray.data.commit import Stopwatch, commit, write_file
from exfm_ray.data.location import Location
from exfm_ray.data.parquet_form import to_parquet
from exfm_ray.data.partitions import read_rows, write_part
from exfm_ray.errors import DataError

INTEGERS = st.one_of(st.integers(0, 9), st.integers(-(2**31), 2**31), st.integers(-(2**63), 2**63 - 1))
LISTS = st.one_of(st.none(), st.lists(st.one_of(st.none(), INTEGERS), max_size=4))
ROW = st.tuples(
    INTEGERS, st.one_of(st.none(), INTEGERS), st.lists(INTEGERS, max_size=4), LISTS, st.one_of(st.none(), st.text())
)
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("holes", pa.int64()),
        ("history", pa.list_(pa.int64())),
        ("any", pa.list_(pa.int64())),
        ("a.text", pa.string()),
    ]
)


def table_of(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    return pa.table([pa.array(list(c), f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def earlier_form(table: pa.Table) -> bytes:
    """As data sets were written before: dictionaries, zstd, every column may have nulls."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


@settings(deadline=None)
@given(st.lists(ROW, max_size=30), st.integers(1, 10))
def test_what_is_written_is_read(rows: list[tuple[object, ...]], group_rows: int) -> None:
    table = table_of(rows)
    content = to_parquet(table, group_rows)
    read = pq.read_table(pa.BufferReader(content))
    assert read.to_pydict() == table.to_pydict()
    assert to_parquet(table, group_rows) == content


def test_small_integers_are_packed_wide_ones_looked_up_and_columns_without_nulls_say_so() -> None:
    wide = np.array([0, 2**32, 0, 5], dtype=np.int64)
    table = pa.table({"small": wide // 4, "wide": wide, "list": [[1], [2, 3], [], [4]], "float": [0.5] * 4})
    file = pq.ParquetFile(pa.BufferReader(to_parquet(table, 100)))
    columns = [file.metadata.row_group(0).column(index) for index in range(4)]
    assert [column.path_in_schema for column in columns] == ["small", "wide", "list.list.element", "float"]
    packed = ["DELTA_BINARY_PACKED" in column.encodings for column in columns]
    assert packed == [True, False, True, False]
    assert [column.compression for column in columns] == ["LZ4"] * 4
    assert [file.schema.column(index).max_definition_level for index in range(4)] == [0, 0, 1, 0]


def test_files_of_the_earlier_form_are_read_beside_those_of_this_one(tmp_path: Path) -> None:
    place = Location.of(str(tmp_path / "day"))
    tables = [
        table_of([(1, None, [1], None, "a"), (2, 5, [2**60], [None], None)]),
        table_of([(3, 6, [], [7], "b"), (4, 7, [8], [], "c")]),
    ]
    files = [
        write_file(place, "part-00000", ".parquet", earlier_form(tables[0]), 2),
        write_part(place, 1, tables[1]),
        write_file(place, "part-00002", ".parquet", earlier_form(tables[1]), 2),
        write_part(place, 3, tables[0]),
    ]
    commit(place, files, {}, Stopwatch.start())
    for rows in (1, 3, 100):
        read = pa.concat_tables(read_rows(place, SCHEMA.names, rows))
        assert read.schema.equals(SCHEMA)
        assert read.to_pydict() == pa.concat_tables([tables[0], tables[1], tables[1], tables[0]]).to_pydict()


def test_a_damaged_page_is_noticed(tmp_path: Path) -> None:
    place = Location.of(str(tmp_path / "day"))
    table = pa.table({"list": [list(range(index, index + 50)) for index in range(200)]})
    file = write_part(place, 0, table)
    commit(place, [file], {}, Stopwatch.start())
    content = bytearray((place / file.name).read())
    content[len(content) // 2] ^= 1
    (place / file.name).write(bytes(content))
    with pytest.raises(DataError, match="its checksum differs"):
        list(read_rows(place, ["list"]))
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        pq.read_table((place / file.name).uri, page_checksum_verification=True)
