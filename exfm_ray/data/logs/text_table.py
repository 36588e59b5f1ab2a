"""Delimited text files whose columns are known: read in blocks, and every mistake told with its line and column."""

import csv as python_csv
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyarrow import csv

from exfm_ray.data.location import Location
from exfm_ray.data.logs.line_ranges import BLOCK_BYTES, RANGE_BYTES, LineBlock, LineRange, line_blocks, line_ranges
from exfm_ray.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
SHOWN_CHARACTERS = 60
"""A value or a header is shown up to here in an error."""
NOT_EMPTY = re.compile(rb"[^\r\n]")
DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


@dataclass(frozen=True)
class TableBlock:
    """Consecutive rows of a text table."""

    rows: pa.Table
    """the columns asked for, each in one chunk"""
    lines: LineBlock
    """where they stand; empty lines are no rows"""


@dataclass(frozen=True)
class TextTable:
    """A text file and what its columns must be."""

    place: Location
    names: tuple[str, ...]
    """of all columns, in the file's order"""
    types: Mapping[str, pa.DataType]
    """of the columns to read"""
    begin: int = 0
    """offset of the first row: what stands before it is the header"""
    delimiter: str = ","
    nullable: frozenset[str] = field(default_factory=frozenset)
    """columns whose value may be missing: an empty field or one of `null_values`"""
    null_values: tuple[str, ...] = ("", "NULL")

    def ranges(self, range_bytes: int = RANGE_BYTES) -> tuple[LineRange, ...]:
        """Pieces that together hold every row once, in order."""
        return line_ranges(self.place, range_bytes, begin=self.begin)

    def blocks(self, lines: LineRange, block_bytes: int = BLOCK_BYTES) -> Iterator[TableBlock]:
        """The rows of a range in order, in blocks of about `block_bytes` of text.

        Raises:
            UserError: a row has another number of columns, or a value is not of its column's type or is missing.
        """
        for block in line_blocks(lines, block_bytes):
            if NOT_EMPTY.search(block.content):
                yield TableBlock(self._rows(block), block)

    def _rows(self, block: LineBlock) -> pa.Table:
        try:
            return self._parsed(block.content, list(self.types))
        except pa.ArrowInvalid:
            raise self._first_mistake(block) from None

    def _parsed(self, content: bytes, columns: Sequence[str]) -> pa.Table:
        rows = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=list(self.names)),
            csv.ParseOptions(delimiter=self.delimiter),
            csv.ConvertOptions(
                column_types=dict(self.types),
                include_columns=columns,
                null_values=list(self.null_values),
                strings_can_be_null=True,
            ),
        )
        for column in columns:
            if rows[column].null_count and column not in self.nullable:
                raise pa.ArrowInvalid(f"{column} is missing")
        return rows

    def no_rows(self) -> pa.Table:
        """The columns to read, without any row."""
        return pa.table({name: pa.array([], kind) for name, kind in self.types.items()})

    def mistake(self, block: TableBlock, row: int, column: str, expected: str) -> UserError:
        """What is wrong with the value of a block's row, from 0."""
        lines = block.lines.content.split(b"\n")
        line = [index for index, text in enumerate(lines) if text.strip(b"\r")][row]
        return self._wrong_value(block.lines, lines[line], line, column, expected)

    def _first_mistake(self, block: LineBlock) -> UserError:
        """Of the first line that cannot be parsed, found by halving."""
        lines = block.content.split(b"\n")
        low, high = 0, len(lines)  # lines[:low] can be parsed, lines[:high] cannot
        while high - low > 1:
            middle = (low + high) // 2
            if self._fails(b"\n".join(lines[low:middle])):
                high = middle
            else:
                low = middle
        line, text = low, lines[low]
        column = next((name for name in self.types if self._fails(text, [name])), None)
        fields = _fields(text, self.delimiter)
        if column is None or len(fields) != len(self.names):
            return self._wrong_width(block, line, len(fields))
        return self._wrong_value(block, text, line, column, _expected(self.types[column]))

    def _fails(self, content: bytes, columns: Sequence[str] | None = None) -> bool:
        if not content.strip(b"\r\n"):
            return False
        try:
            self._parsed(content, list(self.types) if columns is None else columns)
        except pa.ArrowInvalid:
            return True
        return False

    def _wrong_value(self, block: LineBlock, text: bytes, line: int, column: str, expected: str) -> UserError:
        value = _fields(text, self.delimiter)[self.names.index(column)]
        found = "nothing" if value == "" else repr(value[:SHOWN_CHARACTERS])
        return UserError(
            f"data.path: {self.place}, line {block.line_number(line)}, column {column}: found {found}, expected "
            f"{expected}; mend that line"
        )

    def _wrong_width(self, block: LineBlock, line: int, found: int) -> UserError:
        end = line == block.content.count(b"\n")  # no line feed follows: the file ends here
        mend = "the file is cut off, fetch it anew" if end else "mend that line"
        return UserError(
            f"data.path: {self.place}, line {block.line_number(line)}: found {found} columns, expected "
            f"{len(self.names)} separated by {DELIMITERS.get(self.delimiter, repr(self.delimiter))}; {mend}"
        )


def text_table(
    place: Location,
    types: Mapping[str, pa.DataType],
    *,
    delimiter: str = ",",
    nullable: Collection[str] = (),
    null_values: Sequence[str] = ("", "NULL"),
) -> TextTable:
    """A file with a header, which is read and checked; blanks around the header's names do not count.

    Args:
        types: of the columns to read; the file may have more columns, and any order.

    Raises:
        UserError: there is no header, it lacks a column, names one twice, or has another delimiter.
    """
    header = next(line_blocks(LineRange(place, 0, 1)), None)
    text = header.content if header else b""
    names = _header_names(place, text.removeprefix(BYTE_ORDER_MARK), delimiter)
    missing = [name for name in types if name not in names]
    if missing:
        raise _wrong_header(place, f"found {', '.join(names)}", f"a column {missing[0]}")
    return TextTable(place, names, types, len(text), delimiter, frozenset(nullable), tuple(null_values))


def _header_names(place: Location, header: bytes, delimiter: str) -> tuple[str, ...]:
    if not header.strip():
        raise _wrong_header(place, "found nothing", "a header")
    if header.startswith(GZIP_MAGIC):
        raise _wrong_header(place, "found a gzip", "text, or a name that ends in .gz")
    try:
        names = tuple(name.strip() for name in _fields(header.strip(b"\r\n"), delimiter, errors="strict"))
    except UnicodeDecodeError as error:
        raise _wrong_header(place, f"byte {error.start + 1} is not UTF-8", "a header in UTF-8") from None
    others = [other for other in DELIMITERS if other != delimiter and other in names[0]]
    if len(names) == 1 and others:
        found = f"names separated by {DELIMITERS[others[0]]}"
        raise _wrong_header(place, f"found {found}", DELIMITERS.get(delimiter, repr(delimiter)))
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise _wrong_header(place, f"found the column {repeated[0]} twice", "each column once")
    return names


def _wrong_header(place: Location, found: str, expected: str) -> UserError:
    shown = found if len(found) <= 3 * SHOWN_CHARACTERS else f"{found[: 3 * SHOWN_CHARACTERS]}…"
    return UserError(f"data.path: {place}, line 1: {shown}, expected {expected}; mend the file's header")


def _fields(line: bytes, delimiter: str, errors: str = "backslashreplace") -> list[str]:
    text = line.removesuffix(b"\r").decode("utf-8", errors)
    return next(python_csv.reader([text], delimiter=delimiter), [""])


def _expected(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return f"a whole number that fits {kind}"
    return "a number" if pa.types.is_floating(kind) else "text in UTF-8"
