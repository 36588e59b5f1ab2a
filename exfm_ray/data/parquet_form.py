"""In which form our Parquet files hold a table: quick to decode first, small second.

Files are read far more often than they are written: by the FM, by its replicas, by every VM. Measured on three
histories of 50 small ids per row, beside zstd over dictionaries: LZ4 decodes in half the time; packed differences are
decoded without a look-up per value, need no table of distinct values while they are written, and are smaller; columns
that say that they have no nulls spare the reader a level per value. Every reader of Parquet reads all of this.
"""

from collections.abc import Sequence
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

WIDEST_PACKED = 2**32
"""Integers that span more, such as hashes, take as many bits packed as plain; a dictionary knows their repetitions."""


def to_parquet(table: pa.Table, row_group_rows: int | Sequence[int]) -> bytes:
    """A Parquet file of the table, with a checksum over each page.

    Args:
        row_group_rows: of every row group but the last one; or of each of them.
    """
    packed: list[str] = []
    others: list[str] = []
    for name in table.column_names:
        for path, values in _leaves(name, table[name]):
            (packed if _is_narrow(values) else others).append(path)
    table = table.cast(_without_nulls(table))
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="lz4",
        use_dictionary=others,
        column_encoding=dict.fromkeys(packed, "DELTA_BINARY_PACKED"),
        write_page_checksum=True,
    ) as file:
        if isinstance(row_group_rows, int):
            file.write_table(table, row_group_size=row_group_rows)
        else:
            starts = accumulate(row_group_rows, initial=0)
            for start, rows in zip(starts, row_group_rows, strict=False):
                file.write_table(table.slice(start, rows), row_group_size=max(rows, 1))
    return bytes(sink.getvalue().to_pybytes())


def with_nullable_types(table: pa.Table) -> pa.Table:
    """The same columns, of the same types in every file whether or not it has nulls; nothing is copied."""
    schema = pa.schema([pa.field(field.name, _nullable(field.type)) for field in table.schema])
    # a cast of a column that has its type already costs as much as one that is needed
    columns = [
        column if column.type == kind else column.cast(kind)
        for column, kind in zip(table.columns, schema.types, strict=True)
    ]
    return pa.table(columns, schema=schema)


def _leaves(name: str, column: pa.ChunkedArray) -> list[tuple[str, pa.ChunkedArray]]:
    """What Parquet stores of a column, by path."""
    if pa.types.is_list(column.type):
        return [(f"{name}.list.element", pc.list_flatten(column))]
    if pa.types.is_struct(column.type):
        return [(f"{name}.{field.name}", pc.struct_field(column, field.name)) for field in column.type]
    return [(name, column)]


def _is_narrow(values: pa.ChunkedArray) -> bool:
    if values.type != pa.int64():
        return bool(values.type == pa.int32())
    ends = pc.min_max(values)
    least, most = ends["min"].as_py(), ends["max"].as_py()
    return least is None or most - least < WIDEST_PACKED


def _without_nulls(table: pa.Table) -> pa.Schema:
    """The table's types, saying of each column, and of lists' elements, whether it has nulls."""
    fields = []
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type
        if pa.types.is_list(kind):
            has_nulls = pc.list_flatten(column).null_count > 0
            kind = pa.list_(pa.field("element", kind.value_type, nullable=has_nulls))
        fields.append(pa.field(field.name, kind, nullable=column.null_count > 0))
    return pa.schema(fields)


def _nullable(kind: pa.DataType) -> pa.DataType:
    return pa.list_(kind.value_type) if pa.types.is_list(kind) else kind
