"""A text file cut into byte ranges that end at line ends, so that many processes read it in bounded memory."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from exfm_ray.data.location import Location
from exfm_ray.errors import UserError

RANGE_BYTES = 128 * 2**20
BLOCK_BYTES = 8 * 2**20
LONGEST_LINE_BYTES = 64 * 2**20
"""A longer line is no line of a log: the file is something else."""

GZIP_SUFFIX = ".gz"


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class LineRange:
    """The lines that begin at `begin` or later and before `end`; offsets count bytes of the text, unpacked."""

    place: Location
    begin: int
    end: int | None
    """None: to the end of the file"""


@dataclass(frozen=True)
class LineBlock:
    """Whole lines of a file, the last one perhaps without a line end."""

    place: Location
    begin: int
    """offset of the first byte in the text"""
    content: bytes

    def line_number(self, line: int) -> int:
        """Number in the file, from 1, of a line of the block, from 0. Reads the file from its beginning."""
        return lines_before(self.place, self.begin) + line + 1


def line_ranges(place: Location, range_bytes: int = RANGE_BYTES, *, begin: int = 0) -> tuple[LineRange, ...]:
    """Ranges that hold every line from `begin` on exactly once, in order.

    Nothing is read: who reads a range finds its first and its last line. A file named `.gz` is one range, for
    its middle cannot be found; it is read as a stream, in bounded memory all the same. A line ends at a line feed,
    also where it stands in quotes.
    """
    if place.name.endswith(GZIP_SUFFIX):
        return (LineRange(place, begin, None),)
    edges = range(begin, max(place.size(), begin + 1), range_bytes)
    return tuple(LineRange(place, edge, edge + range_bytes) for edge in edges)


def line_blocks(lines: LineRange, block_bytes: int = BLOCK_BYTES) -> Iterator[LineBlock]:
    """The lines of a range in order, in blocks of about `block_bytes`; none where no line begins in the range.

    Raises:
        UserError: a gzip is broken or ends early, or a line is longer than 64 MiB.
    """
    begin = max(lines.begin - 1, 0)
    with _text(lines.place, begin) as text:
        held = b""
        if lines.begin:  # a line that begins right at the range follows the line feed before it
            begin, held = _after_line_feed(text, begin, block_bytes, lines.place)
        while lines.end is None or begin < lines.end:
            read = _read(text, block_bytes, lines.place)
            held += read
            cut = _whole_lines(held, begin, lines.end, ends=not read)
            if cut:
                yield LineBlock(lines.place, begin, held[:cut])
                begin, held = begin + cut, held[cut:]
            elif len(held) > LONGEST_LINE_BYTES:
                raise _mistake(lines.place, begin, "has a line longer than 64 MiB; put a text file there")
            if not read:
                return


def _after_line_feed(text: Readable, begin: int, block_bytes: int, place: Location) -> tuple[int, bytes]:
    """What follows the next line feed: its offset, and those of its bytes that were read."""
    while read := _read(text, block_bytes, place):
        found = read.find(b"\n") + 1
        if found:
            return begin + found, read[found:]
        begin += len(read)
    return begin, b""


def _whole_lines(held: bytes, begin: int, end: int | None, *, ends: bool) -> int:
    """How many bytes of `held`, which stands at offset `begin`, are whole lines that begin before `end`.

    Args:
        ends: the file ends with `held`, so that its last line needs no line feed.
    """
    whole = len(held) if ends else held.rfind(b"\n") + 1
    if end is None or begin + whole <= end:
        return whole
    return held.find(b"\n", end - begin - 1) + 1 or whole


def lines_before(place: Location, offset: int) -> int:
    """Number of line feeds in the first `offset` bytes of the text."""
    count = 0
    with _text(place, 0) as text:
        while offset > 0 and (read := _read(text, min(BLOCK_BYTES, offset), place)):
            count += read.count(b"\n")
            offset -= len(read)
    return count


@contextmanager
def _text(place: Location, begin: int) -> Iterator[Readable]:
    """The bytes of a file from an offset on, unpacked where it is a gzip."""
    system, path = place.opened()
    if not place.name.endswith(GZIP_SUFFIX):
        with system.open_input_file(path) as plain:
            plain.seek(begin)
            yield plain
        return
    with system.open_input_stream(path, compression=None) as packed, gzip.GzipFile(fileobj=packed) as text:
        while begin > 0 and (read := _read(text, min(BLOCK_BYTES, begin), place)):
            begin -= len(read)
        yield text


def _read(text: Readable, size: int, place: Location) -> bytes:
    try:
        return bytes(text.read(size))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"data.path: {place} is no intact gzip ({error}); unpack it, or fetch the file anew") from error


def _mistake(place: Location, offset: int, found: str) -> UserError:
    return UserError(f"data.path: {place}, line {lines_before(place, offset) + 1}, {found}")
