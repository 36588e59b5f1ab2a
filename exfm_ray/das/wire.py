"""Tables between processes as Arrow IPC bytes: typed, compact, and no code runs when they are read."""

import pyarrow as pa


def to_bytes(table: pa.Table) -> bytes:
    """One IPC stream with just the table's rows, also where it is a slice of a larger one."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def from_bytes(content: bytes) -> pa.Table:
    """The table of one IPC stream."""
    with pa.ipc.open_stream(pa.py_buffer(content)) as reader:
        return reader.read_all()
