"""The files of a reader's own table: found, their headers checked, and cut into pieces of about the same size."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from exfm_ray.data.location import Location
from exfm_ray.data.logs.line_ranges import LineRange
from exfm_ray.data.logs.text_table import DELIMITERS, TextTable, text_table
from exfm_ray.errors import UserError

PIECE_BYTES = 128 * 2**20
"""of the files, packed where they are; a .gz is a piece whatever its size"""
SUFFIXES = {"csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz"), "parquet": (".parquet",)}


@dataclass(frozen=True)
class RowGroup:
    """One row group of a Parquet file."""

    place: Location
    number: int
    first_row: int
    """rows of the file before it"""


Span = LineRange | RowGroup
Piece = tuple[Span, ...]
"""in the order of the files and of the rows in them"""


def table_files(path: str, kind: str) -> tuple[Location, ...]:
    """The file at a path, or the files in that directory and below, by name. Names that begin with . or _ are none.

    Raises:
        UserError: there is none of this kind.
    """
    place = Location.of(path)
    if place.is_file():
        return (place,)
    if not place.is_directory():
        raise UserError(f"data.path: {path!r} does not exist; name a file or a directory of files")
    found = tuple(_files_below(place, SUFFIXES[kind]))
    if not found:
        raise UserError(f"data.path: {path!r} holds no file named {', '.join('*' + s for s in SUFFIXES[kind])}")
    return found


def _files_below(directory: Location, suffixes: tuple[str, ...]) -> Iterator[Location]:
    for child in directory.children():
        if child.name.startswith((".", "_")):
            continue
        if child.is_directory():
            yield from _files_below(child, suffixes)
        elif child.name.endswith(suffixes):
            yield child


def csv_table(place: Location, delimiter: str, columns: Sequence[str] = ()) -> TextTable:
    """A CSV whose values are read as bytes, whatever they mean.

    Raises:
        UserError: there is no header, it is no UTF-8 or names a column twice, or the file is a broken gzip.
    """
    try:
        table = text_table(place, {}, delimiter=delimiter, null_values=())
    except UserError:
        best = max(DELIMITERS, key=lambda other: _width(place, other))
        if best != delimiter and _width(place, best) > 1:
            raise UserError(
                f"data.delimiter: {delimiter!r}, but the header of {place} has {DELIMITERS[best]}; say {best!r}, or "
                "put another file there"
            ) from None
        raise
    return replace(table, types=dict.fromkeys(columns, pa.binary()), nullable=frozenset(columns))


def guess_delimiter(place: Location) -> str:
    """The one that gives the header of a CSV the most columns."""
    return max(DELIMITERS, key=lambda delimiter: _width(place, delimiter))


def _width(place: Location, delimiter: str) -> int:
    """Columns of a header; 0 where it is none with this delimiter."""
    try:
        return len(text_table(place, {}, delimiter=delimiter).names)
    except UserError:
        return 0


def read_parquet_schema(place: Location) -> pa.Schema:
    """Columns of a Parquet file.

    Raises:
        UserError: it is none, or names a column twice.
    """
    with _opened_parquet(place) as parquet:
        schema = parquet.schema_arrow
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"data.path: {place} names the column {twice!r} twice; rename one of them")
    return schema


def _opened_parquet(place: Location) -> pq.ParquetFile:
    system, path = place.opened()
    try:
        return pq.ParquetFile(system.open_input_file(path))
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable_parquet(place, error) from error


def unreadable_parquet(place: Location, error: Exception) -> UserError:
    reason = str(error).splitlines()[0]
    return UserError(f"data.path: {place} cannot be read as Parquet ({reason}); put the intact file there")


def column_names(place: Location, delimiter: str | None) -> tuple[str, ...]:
    """Columns of one file of a table.

    Args:
        delimiter: of CSV; None for Parquet.
    """
    return tuple(read_parquet_schema(place).names) if delimiter is None else csv_table(place, delimiter).names


def cut_pieces(files: Sequence[Location], delimiter: str | None, piece_bytes: int) -> tuple[Piece, ...]:
    """All rows of the files, in pieces of about `piece_bytes`; small files share one."""
    sized = _row_groups(files) if delimiter is None else _csv_spans(files, delimiter, piece_bytes)
    numbered: list[tuple[int, Span]] = []
    held = piece = 0
    for span, size in sized:
        if held and held + size > piece_bytes:
            piece, held = piece + 1, 0
        numbered.append((piece, span))
        held += size
    return tuple(tuple(span for _, span in group) for _, group in groupby(numbered, key=lambda item: item[0]))


def _csv_spans(files: Sequence[Location], delimiter: str, piece_bytes: int) -> Iterator[tuple[Span, int]]:
    for place in files:
        table, size = csv_table(place, delimiter), place.size()
        for lines in table.ranges(piece_bytes):
            yield lines, size if lines.end is None else min(size, lines.end) - lines.begin


def _row_groups(files: Sequence[Location]) -> Iterator[tuple[Span, int]]:
    for place in files:
        with _opened_parquet(place) as parquet:
            first_row = 0
            for group in range(parquet.metadata.num_row_groups):
                about = parquet.metadata.row_group(group)
                yield RowGroup(place, group, first_row), about.total_byte_size
                first_row += about.num_rows


def fingerprint(settings: str, files: Sequence[Location]) -> str:
    """8 hexadecimal digits that change with the settings and with the files: what was made of others is not used."""
    listed = []
    for place in files:
        system, path = place.opened()
        info = system.get_file_info(path)
        listed.append((place.uri, info.size, info.mtime_ns))
    return hashlib.sha256(repr((settings, listed)).encode()).hexdigest()[:8]
