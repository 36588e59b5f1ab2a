"""What the columns of a table look like in a bounded sample of its rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exfm_ray.config import TableData, TimeColumn
from exfm_ray.data.location import Location
from exfm_ray.data.table.chunks import Cells, Chunk, read_piece
from exfm_ray.data.table.files import PIECE_BYTES, Piece, column_names, cut_pieces, guess_delimiter, table_files
from exfm_ray.data.table.times import optional_times
from exfm_ray.data.table.values import Integers, is_text, numbers, sequences, text_ids, texts
from exfm_ray.errors import UserError

SAMPLE_ROWS = 200_000
SAMPLE_BYTES = 256 * 2**20
SAMPLED_PIECES = 8
SEPARATORS = ("^", "|", ";", ",", " ")
NULLS: tuple[str, ...] = TableData.model_fields["nulls"].default
LISTS = r"^-?[0-9]+([{0}]-?[0-9]+)+$"
"""whole numbers with a separator between them"""
LONGEST_LIST = 2**31
CLOCK = TimeColumn(column="any", unit="iso")


@dataclass(frozen=True)
class Profile:
    """One column in the sample."""

    name: str
    rows: int
    missing: int
    values: NDArray[np.float64] | None
    """(N,) numbers, NaN where missing; None where not all are numbers"""
    ids: Integers
    """(D,) distinct ids, of lists those in them"""
    moments: NDArray[np.float64] | None = None
    """(N,) milliseconds, NaN where missing, of a temporal type or of ISO-8601 text"""
    is_list: bool = False
    separator: str | None = None
    """of lists in text"""

    @property
    def known(self) -> NDArray[np.float64]:
        """(M,) numbers that are there."""
        return np.zeros(0) if self.values is None else self.values[~np.isnan(self.values)]

    @property
    def is_whole(self) -> bool:
        return self.values is not None and bool(np.all(self.known % 1 == 0))

    @property
    def is_binary(self) -> bool:
        """0 or 1 in all rows, and both somewhere."""
        return not self.missing and set(np.unique(self.known)) == {0.0, 1.0}


@dataclass(frozen=True)
class Sample:
    """Profiles of all columns, and of how many rows they are."""

    kind: str
    delimiter: str | None
    rows: int
    is_all: bool
    columns: tuple[Profile, ...]


def sample_table(path: str) -> Sample:
    """Read the first rows of several pieces of the files at a path.

    Raises:
        UserError: there is no such file, it cannot be read, or it has no rows.
    """
    kind, files = _find(path)
    delimiter = guess_delimiter(files[0]) if kind == "csv" else None
    names = column_names(files[0], delimiter)
    for place in files[1:]:
        if set(column_names(place, delimiter)) != {*names}:
            raise UserError(f"data.path: {place} has other columns than {files[0]}; put files of one table there")
    pieces = cut_pieces(files, delimiter, PIECE_BYTES)
    count = min(len(pieces), SAMPLED_PIECES)
    chosen = [pieces[len(pieces) * place // count] for place in range(count)]
    read = [_first_rows(piece, delimiter, names, SAMPLE_ROWS // count) for piece in chosen]
    tables = [table for table, _ in read if table is not None]
    if not tables:
        raise UserError(f"data.path: {path} has no rows; give a table that has some")
    table = pa.concat_tables(tables, promote_options="permissive")
    sampled = Chunk(table, files[0], lambda row: f"sampled row {row + 1}")
    columns = tuple(profile(sampled.cells(name)) for name in names)
    is_all = len(chosen) == len(pieces) and all(ended for _, ended in read)
    return Sample(kind, delimiter, table.num_rows, is_all, columns)


def _find(path: str) -> tuple[str, tuple[Location, ...]]:
    """Whether the files are CSV or Parquet."""
    place = Location.of(path)
    if place.is_file():
        return ("parquet" if place.name.endswith(".parquet") else "csv"), (place,)
    try:
        return "parquet", table_files(path, "parquet")
    except UserError:
        return "csv", table_files(path, "csv")


def _first_rows(piece: Piece, delimiter: str | None, names: tuple[str, ...], rows: int) -> tuple[pa.Table | None, bool]:
    """At most so many rows, fewer of long ones, and whether those are all."""
    held: list[pa.Table] = []
    left = rows
    for chunk in read_piece(piece, delimiter, names):
        held.append(chunk.table.slice(0, left))
        left -= len(chunk)
        if left < 0 or sum(table.nbytes for table in held) > SAMPLE_BYTES // SAMPLED_PIECES:
            return pa.concat_tables(held), False
    return (pa.concat_tables(held) if held else None), True


def profile(cells: Cells) -> Profile:
    """Look at one column."""
    values, rows = cells.values, len(cells.values)
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return Profile(cells.column, rows, values.null_count, None, _listed(cells, None), is_list=True)
    if pa.types.is_temporal(kind) or pa.types.is_nested(kind):
        return Profile(cells.column, rows, values.null_count, None, np.zeros(0, np.int64), moments=_moments(cells))
    text = values if is_text(kind) else values.cast(pa.string())
    found = texts(Cells(cells.column, text, cells.place, cells.row_name), NULLS)
    missing, ids = int((found.codes < 0).sum()), text_ids(found.distinct)
    try:
        read = numbers(cells, NULLS)
        return Profile(cells.column, rows, missing, read, ids)
    except UserError:
        pass
    separator = _separator(found.distinct)
    if separator is not None:
        return Profile(cells.column, rows, missing, None, _listed(cells, separator), is_list=True, separator=separator)
    return Profile(cells.column, rows, missing, None, ids, moments=_moments(cells))


def _listed(cells: Cells, separator: str | None) -> Integers:
    lists, _ = sequences(cells, NULLS, separator, length=LONGEST_LIST)
    return np.unique(lists.flatten().to_numpy())


def _separator(distinct: pa.StringArray) -> str | None:
    """The one that stands between whole numbers in most texts; None where there is none."""
    for separator in SEPARATORS:
        listed = pc.match_substring_regex(distinct, LISTS.format("\\" + separator))
        if len(distinct) and pc.mean(listed.cast(pa.float64())).as_py() > 0.5:
            return separator
    return None


def _moments(cells: Cells) -> NDArray[np.float64] | None:
    try:
        read = optional_times(cells, CLOCK, NULLS)
    except UserError:
        return None
    return None if np.all(np.isnan(read)) else read
