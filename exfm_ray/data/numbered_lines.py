"""The lines of a text file, plain or gzip, one by one and with their numbers, in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Iterator

from exfm_ray.data.location import Location
from exfm_ray.errors import UserError

LONGEST_LINE = 2**20
"""bytes; the longest of the official files have some 100,000"""


def numbered_lines(place: Location) -> Iterator[tuple[int, str]]:
    """Lines without their ends, counted from 1; empty ones are passed over.

    Raises:
        UserError: the file is no gzip though it is called one, or ends early; a line is too long or is not UTF-8.
    """
    number = 0
    try:
        for number, line in enumerate(_lines(place), start=1):
            if len(line) > LONGEST_LINE:
                raise UserError(
                    f"data.path: {place}, line {number} has more than {LONGEST_LINE:,} bytes where one line is one "
                    "record; put the official file there"
                )
            if line.strip():
                yield number, line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"data.path: {place}, line {number}, column {error.start + 1} holds the byte "
            f"0x{error.object[error.start]:02x}, which is not UTF-8; put the official file there"
        ) from error
    except gzip.BadGzipFile as error:
        raise UserError(
            f"data.path: {place} is no intact gzip ({error}); put the official file there, or take .gz off its name "
            "if it is plain text"
        ) from error
    except (EOFError, zlib.error) as error:
        raise UserError(
            f"data.path: {place} ends early or is damaged after line {number} ({error}); download it again"
        ) from error


def _lines(place: Location) -> Iterator[bytes]:
    system, path = place.opened()
    with system.open_input_stream(path, compression=None) as source:
        stream = io.BufferedReader(gzip.GzipFile(fileobj=source) if place.name.endswith(".gz") else source, 2**20)
        while line := stream.readline(LONGEST_LINE + 1):
            yield line
