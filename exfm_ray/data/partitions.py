"""Day partitions: all events of one day, ordered by event time, as committed Parquet.

A data set is a directory with `schema.json` and one committed `day=NNN` directory per day, counted from 1.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from exfm_ray.data.commit import CommittedFile, Stopwatch, check_once, commit, committed, require, write_file
from exfm_ray.data.history_file import HistoryReader, is_place, taken_apart
from exfm_ray.data.location import Location
from exfm_ray.data.parquet_form import to_parquet, with_nullable_types
from exfm_ray.errors import DataError
from exfm_ray.schema import (
    DOMAIN,
    EVENT_ID,
    EVENT_TIME,
    STAGE,
    Schema,
    delay_column,
    label_column,
    truth_column,
)

ROW_GROUP_ROWS = 65_536
SCHEMA_FILE = "schema.json"
_FEATURE_TYPES = {"categorical": pa.int64(), "numeric": pa.float32(), "sequence": pa.list_(pa.int64())}


def arrow_schema(schema: Schema) -> pa.Schema:
    """The exact columns and types of a day partition's files."""
    columns: list[tuple[str, pa.DataType]] = [
        (EVENT_ID, pa.int64()),
        (EVENT_TIME, pa.int64()),
        (DOMAIN, pa.int16()),
        (STAGE, pa.int16()),
    ]
    columns += [(feature.name, _FEATURE_TYPES[feature.kind]) for feature in schema.features]
    for task in schema.tasks:
        columns.append((label_column(task), pa.int8()))
        columns += [(delay_column(task), pa.int32())] if schema.has_delays else []
        columns += [(truth_column(task), pa.float32())] if schema.has_truth else []
    return pa.schema(columns)


def write_part(directory: Location, part: int, table: pa.Table) -> CommittedFile:
    """Write one Parquet file of a partition or a side-car; `part` is its place in the order."""
    return write_file(directory, f"part-{part:05d}", ".parquet", to_parquet(table, ROW_GROUP_ROWS), table.num_rows)


def write_schema(dataset: Location, schema: Schema) -> None:
    (dataset / SCHEMA_FILE).write(schema.model_dump_json(indent=1).encode())


def read_schema(dataset: Location) -> Schema:
    """The schema of a data set.

    Raises:
        DataError: there is none.
    """
    place = dataset / SCHEMA_FILE
    if not place.is_file():
        raise DataError(f"{dataset} is no data set of day partitions: it has no {SCHEMA_FILE}")
    return Schema.model_validate_json(place.read())


def write_partition_part(directory: Location, part: int, table: pa.Table, schema: Schema) -> CommittedFile:
    """Write one time slice of a day, its rows in event-time order.

    Raises:
        DataError: columns, types, ids or order are not those of a partition.
    """
    expected = arrow_schema(schema)
    if not table.schema.equals(expected):
        raise DataError(f"a partition of {directory} has columns {table.schema} instead of {expected}")
    times = table[EVENT_TIME].to_numpy()
    if np.any(times[1:] < times[:-1]):
        raise DataError(f"rows of {directory}, part {part}, are not in event-time order")
    owners = {feature.name: feature.owner for feature in schema.of_kind("sequence")}
    if not owners or not table.num_rows:
        return write_part(directory, part, table)
    table, rows, elements = taken_apart(table, owners, ROW_GROUP_ROWS)
    histories = pa.concat_tables(elements)
    content = to_parquet(histories, [block.num_rows for block in elements])
    beside = write_file(directory, f"histories-{part:05d}", ".parquet", content, histories.num_rows)
    return write_file(directory, f"part-{part:05d}", ".parquet", to_parquet(table, rows), table.num_rows, beside)


def commit_partition(
    directory: Location, files: Sequence[CommittedFile], day: int, schema: Schema, stopwatch: Stopwatch
) -> None:
    """Make a day partition exist, its time slices in the order given."""
    commit(directory, files, {"day": day, "schema": schema.fingerprint()}, stopwatch)


def write_partition(dataset: Location, day: int, slices: Iterable[pa.Table], schema: Schema) -> None:
    """Write and commit a whole day from its time slices, in order."""
    stopwatch = Stopwatch.start()
    directory = dataset.day(day)
    files = [write_partition_part(directory, part, table, schema) for part, table in enumerate(slices)]
    commit_partition(directory, files, day, schema, stopwatch)


def committed_days(dataset: Location) -> list[int]:
    """Days whose partitions exist, in order."""
    days = [child for child in dataset.children() if child.name.startswith("day=") and committed(child)]
    return sorted(int(child.name.removeprefix("day=")) for child in days)


def row_count(dataset: Location, day: int) -> int:
    return require(dataset.day(day)).rows


def read_rows(
    directory: Location,
    columns: Sequence[str],
    rows: int = ROW_GROUP_ROWS,
    files: Sequence[CommittedFile] | None = None,
) -> Iterator[pa.Table]:
    """Columns of a committed Parquet directory in order, as tables of exactly `rows` rows but for the last one.

    Args:
        files: some of the directory's files; all where it is left out.

    Raises:
        DataError: a file is not the one that was committed, or has not the rows that the manifest says.
    """
    chosen = require(directory).files if files is None else files

    def tables() -> Iterator[pa.Table]:
        for file in chosen:
            seen = 0
            for table in _rows_of_file(directory, file, list(columns), rows):
                seen += table.num_rows
                yield with_nullable_types(table)
            if seen != file.rows:
                raise DataError(f"{directory / file.name} has {seen} rows but its manifest says {file.rows}")

    return rebatch(tables(), rows)


def _rows_of_file(directory: Location, file: CommittedFile, columns: list[str], rows: int) -> Iterator[pa.Table]:
    """At most `rows` rows at a time, histories as lists wherever they are stored."""
    with _opened(directory, file) as parquet:
        places = [field.name for field in parquet.schema_arrow if is_place(field.type)]
        if not {*places} & {*columns}:
            for batch in parquet.iter_batches(batch_size=rows, columns=columns):
                yield pa.table(batch).select(columns)
            return
        if file.beside is None:
            raise DataError(f"{directory / file.name} needs a file of histories, and its manifest names none")
        with _opened(directory, file.beside) as histories:
            reader = HistoryReader(histories, places)
            for block in range(parquet.num_row_groups):
                for batch in parquet.iter_batches(batch_size=rows, row_groups=[block], columns=columns):
                    yield reader.put_together(pa.table(batch).select(columns), block)


@contextmanager
def _opened(directory: Location, file: CommittedFile) -> Iterator[pq.ParquetFile]:
    """A committed file, checked."""
    place = directory / file.name
    check_once(place, file)
    system, path = place.opened()
    with system.open_input_file(path) as source:
        yield pq.ParquetFile(source, page_checksum_verification=True)


def rebatch(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in the same order, as tables of exactly `rows` rows but for the last one."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += table.num_rows
        if count < rows:
            continue
        whole = pa.concat_tables(held)
        full = count - count % rows
        for start in range(0, full, rows):
            yield whole.slice(start, rows)
        held, count = [whole.slice(full)], count - full
    if count:
        yield pa.concat_tables(held)


def select_rows(table: pa.Table, domain: int | None, stage: int | None) -> pa.Table:
    """The rows of one domain and one stage; None takes all."""
    wanted = [
        pc.equal(table[column], pa.scalar(value, table[column].type))
        for column, value in ((DOMAIN, domain), (STAGE, stage))
        if value is not None
    ]
    return where(table, reduce(pc.and_, wanted)) if wanted else table


def where(table: pa.Table, wanted: pa.ChunkedArray) -> pa.Table:
    """The rows that are wanted; a table of which all are is not copied."""
    return table if pc.all(wanted).as_py() else table.filter(wanted)
