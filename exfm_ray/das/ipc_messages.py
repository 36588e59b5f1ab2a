"""What an Arrow IPC stream from outside says of itself, read before anything in it is decoded."""

import struct
from collections.abc import Iterator

import pyarrow as pa

from exfm_ray.das.refusal import RefusedError
from exfm_ray.das.request_limits import RequestLimits

METADATA_V5 = 4
MESSAGE_VERSION, MESSAGE_HEADER = 0, 2
BATCH_LENGTH, BATCH_COMPRESSION = 0, 3
"""field numbers of the tables Message and RecordBatch in Arrow's format/Message.fbs"""


def check_messages(content: bytes, limits: RequestLimits) -> None:
    """Look at every message's header: a compressed or too long batch is refused while it is still packed.

    Raises:
        RefusedError: 400 where it is no IPC stream, 413 for too many rows, 422 for dictionaries and compression.
    """
    rows = 0
    for message in _messages(content):
        if message.type == "schema":
            continue
        if message.type != "record batch":
            raise RefusedError(422, f"body: found a {message.type} message; allowed: plain record batches")
        length, is_compressed = _batch_header(message.metadata.to_pybytes())
        if is_compressed:
            raise RefusedError(422, "body: found a compressed record batch; allowed: batches without compression")
        if length < 0:
            raise RefusedError(400, f"body: not an Arrow IPC stream: a record batch of {length} rows")
        rows += length
    limits.check_rows(rows)


def _messages(content: bytes) -> Iterator[pa.Message]:
    try:
        yield from pa.ipc.MessageReader.open_stream(pa.py_buffer(content))
    except (pa.ArrowException, ValueError, OSError) as error:
        raise RefusedError(400, f"body: not an Arrow IPC stream: {error}") from error


def _batch_header(metadata: bytes) -> tuple[int, bool]:
    """Rows that a batch says it has, and whether its body is compressed.

    Args:
        metadata: a Message as flatbuffer, which Arrow has verified while reading it.
    """
    message = _table(metadata, 0)
    version = _field(metadata, message, MESSAGE_VERSION)
    if version is None or struct.unpack_from("<h", metadata, version)[0] != METADATA_V5:
        # older messages hide their compression elsewhere
        raise RefusedError(422, "body: found record batches of an old format; allowed: metadata version V5")
    header = _field(metadata, message, MESSAGE_HEADER)
    if header is None:
        raise RefusedError(400, "body: not an Arrow IPC stream: a record batch without a header")
    batch = _table(metadata, header)
    length = _field(metadata, batch, BATCH_LENGTH)
    rows = struct.unpack_from("<q", metadata, length)[0] if length is not None else 0
    return rows, _field(metadata, batch, BATCH_COMPRESSION) is not None


def _table(metadata: bytes, reference: int) -> int:
    """Where the table begins that the offset at `reference` leads to."""
    return reference + int(struct.unpack_from("<I", metadata, reference)[0])


def _field(metadata: bytes, table: int, number: int) -> int | None:
    """Where a field of a table begins; None where it is absent."""
    slots = table - struct.unpack_from("<i", metadata, table)[0]
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", metadata, slots)[0]:
        return None
    offset = int(struct.unpack_from("<H", metadata, slots + place)[0])
    return table + offset if offset else None
