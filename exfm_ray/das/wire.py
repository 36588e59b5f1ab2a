"""Tables between processes as Arrow IPC: typed, compact, and no code runs when they are read."""

import pyarrow as pa

SECONDS = b"seconds"
"""key of an answer's schema metadata"""


def to_buffer(table: pa.Table) -> pa.Buffer:
    """One IPC stream with just the table's rows, also where it is a slice of a larger one.

    Ray moves an Arrow buffer into shared memory by one copy, and a process of the same node reads it there without
    any; bytes would be copied twice more.
    """
    size = pa.MockOutputStream()
    _write(table, size)
    buffer = pa.allocate_buffer(size.size())  # once: a stream that grows would copy itself again and again
    _write(table, pa.FixedSizeBufferWriter(buffer))
    return buffer


def _write(table: pa.Table, sink: pa.NativeFile) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def to_bytes(table: pa.Table) -> bytes:
    """`to_buffer` as plain bytes, for what leaves Ray."""
    return bytes(to_buffer(table).to_pybytes())


def from_bytes(content: bytes | pa.Buffer) -> pa.Table:
    """The table of one IPC stream; its columns lie in `content`, uncopied."""
    with pa.ipc.open_stream(pa.py_buffer(content)) as reader:
        return reader.read_all()


def with_seconds(answer: pa.Table, seconds: float) -> pa.Table:
    """The answer with the seconds of the work behind it in its metadata."""
    return answer.replace_schema_metadata({SECONDS: repr(seconds)})


def seconds_of(answer: pa.Table) -> float:
    """Seconds of the work behind an answer, as the replica that did it measured them."""
    return float(answer.schema.metadata[SECONDS])
