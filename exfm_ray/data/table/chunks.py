"""Rows of a reader's own table as they stand in its files, a bounded number at a time, each with its place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from exfm_ray.data.location import Location
from exfm_ray.data.logs.line_ranges import LineBlock, LineRange
from exfm_ray.data.table.files import Piece, RowGroup, csv_table, unreadable_parquet
from exfm_ray.errors import UserError

BATCH_ROWS = 32_768


@dataclass(frozen=True)
class Cells:
    """One column of some rows."""

    column: str
    values: pa.Array
    place: Location
    row_name: Callable[[int], str]
    """where a row stands in the file, such as `line 17`"""

    def mistake(self, row: int, value: object, allowed: str, mend: str = "mend that file") -> UserError:
        """Of the value in a row, counted from 0."""
        found = "nothing" if value is None else repr(value)
        where = f"{self.place}, {self.row_name(row)}, column {self.column!r}"
        return UserError(f"data.path: {where}: holds {found} but must hold {allowed}; {mend}")


@dataclass(frozen=True)
class Chunk:
    """Some rows of one file: the columns that were asked for, of CSV as bytes."""

    table: pa.Table
    place: Location
    row_name: Callable[[int], str]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def cells(self, column: str) -> Cells:
        """A column; true and false of Parquet are 1 and 0."""
        values = self.table[column].combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # none, where there are no rows
            assert values.num_chunks <= 1, "a chunk of rows fits one array"
            values = values.chunk(0) if values.num_chunks else pa.array([], values.type)
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.int8())
        return Cells(column, values, self.place, self.row_name)


def read_piece(piece: Piece, delimiter: str | None, columns: Sequence[str]) -> Iterator[Chunk]:
    """All rows of a piece in order.

    Args:
        delimiter: of CSV; None for Parquet.

    Raises:
        UserError: a file cannot be read, or a line has more or fewer columns than the header.
    """
    groups = [span for span in piece if isinstance(span, RowGroup)]
    for place, of_file in groupby(groups, key=lambda group: group.place):
        yield from _parquet_chunks(place, list(of_file), columns)
    for span in piece:
        if isinstance(span, LineRange):
            assert delimiter is not None, "lines are of CSV"
            yield from _csv_chunks(span, delimiter, columns)


def _parquet_chunks(place: Location, groups: Sequence[RowGroup], columns: Sequence[str]) -> Iterator[Chunk]:
    """Rows of neighbouring row groups of a file."""
    system, path = place.opened()
    row = groups[0].first_row
    try:
        with system.open_input_file(path) as source:
            parquet = pq.ParquetFile(source, page_checksum_verification=True)
            numbers = [group.number for group in groups]
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=numbers, columns=list(columns)):
                yield Chunk(pa.table(batch), place, _RowNumber(row))
                row += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable_parquet(place, error) from error


@dataclass(frozen=True)
class _RowNumber:
    """The number of a row in its file, from 1."""

    rows_before: int

    def __call__(self, row: int) -> str:
        return f"row {self.rows_before + row + 1}"


def _csv_chunks(lines: LineRange, delimiter: str, columns: Sequence[str]) -> Iterator[Chunk]:
    for block in csv_table(lines.place, delimiter, columns).blocks(lines):
        rows = _RowLines(block.lines)
        if len(rows.numbers()) != block.rows.num_rows:
            raise rows.broken_by_quotes()
        yield Chunk(block.rows, lines.place, rows)


@dataclass(frozen=True)
class _RowLines:
    """The line of each row; one that is empty is no row."""

    block: LineBlock

    def numbers(self) -> list[int]:
        """Lines in the block that are rows, from 0."""
        return [number for number, line in enumerate(self.block.content.split(b"\n")) if line.strip(b"\r")]

    def __call__(self, row: int) -> str:
        return f"line {self.block.line_number(self.numbers()[row])}"

    def broken_by_quotes(self) -> UserError:
        lines = enumerate(self.block.content.split(b"\n"))
        line = self.block.line_number(next((number for number, line in lines if line.count(b'"') % 2), 0))
        return UserError(
            f"data.path: {self.block.place}, line {line}: ends inside quotes, but each line must be a row; write the "
            "text without line breaks, or the table as Parquet"
        )
