"""Sorted runs: what the scattering of a table leaves, and how time slices are gathered from them.

A run holds some rows of a piece, sorted by time; rows of one time keep their order. Runs are numbered in the order of
the files, so rows by (time, run, place in the run) are in the order of time and of the files, however they were cut.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from exfm_ray.data.commit import CommittedFile, write_file
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, Schema

Integers = NDArray[np.int64]

RUN_BYTES = 256 * 2**20
GROUP_ROWS = 8_192
"""Few, since a time slice reads whole row groups of every run."""


class Run(BaseModel):
    """A sorted run, where it lies and what it spans."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: str
    rows: int
    bytes: int
    """in memory"""
    first: int
    last: int
    """event_time of its first and last row"""


def run_schema(schema: Schema, has_event_id: bool) -> pa.Schema:
    """Columns of a run: those of a partition, the domain's level in words, and ids only where the table has them."""
    fields = [pa.field(DOMAIN, pa.string()) if field.name == DOMAIN else field for field in arrow_schema(schema)]
    return pa.schema([field for field in fields if has_event_id or field.name != EVENT_ID])


def in_run_sizes(tables: Iterable[pa.Table], run_bytes: int) -> Iterator[pa.Table]:
    """The same rows in as many tables as needed that each is of about `run_bytes`."""
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += table.nbytes
        if size >= run_bytes:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)


def write_run(directory: Location, number: int, rows: pa.Table) -> tuple[CommittedFile, Run]:
    """Sort rows by time and write them."""
    order = np.argsort(rows[EVENT_TIME].to_numpy(), kind="stable")
    table = rows.take(pa.array(order))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=GROUP_ROWS, compression="zstd", write_page_checksum=True)
    file = write_file(directory, f"run-{number:05d}", ".parquet", sink.getvalue().to_pybytes(), table.num_rows)
    first, last = (int(table[EVENT_TIME][index].as_py()) for index in (0, -1))
    about = Run(place=(directory / file.name).uri, rows=table.num_rows, bytes=table.nbytes, first=first, last=last)
    return file, about


def read_column(run: Run, column: str) -> pa.ChunkedArray:
    system, path = Location(run.place).opened()
    with system.open_input_file(path) as source:
        return pq.read_table(source, columns=[column])[column]


def read_between(run: Run, begin: int, end: int) -> pa.Table | None:
    """Rows with begin <= event_time < end; None where the run has none."""
    if run.last < begin or run.first >= end:
        return None
    system, path = Location(run.place).opened()
    with system.open_input_file(path) as source:
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        groups = _groups_between(parquet.metadata, begin, end)
        if not groups:
            return None
        table = parquet.read_row_groups(groups)
    start, stop = np.searchsorted(table[EVENT_TIME].to_numpy(), [begin, end])
    return table.slice(start, stop - start)


def _groups_between(metadata: pq.FileMetaData, begin: int, end: int) -> list[int]:
    times = metadata.schema.names.index(EVENT_TIME)
    spans = [metadata.row_group(group).column(times).statistics for group in range(metadata.num_row_groups)]
    return [group for group, span in enumerate(spans) if span.max >= begin and span.min < end]


def gather(runs: Sequence[Run], begin: int, end: int) -> pa.Table:
    """Rows of runs with begin <= event_time < end, by time, run and place in the run; at least one."""
    found = [table for run in runs if (table := read_between(run, begin, end)) is not None]
    table = pa.concat_tables(found)
    return table.take(pa.array(np.argsort(table[EVENT_TIME].to_numpy(), kind="stable")))
