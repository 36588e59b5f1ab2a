"""Rows scattered into groups: a committed piece of a stage whose every group is read on its own."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from exfm_ray.data.commit import Stopwatch, commit, require, write_file
from exfm_ray.data.location import Location
from exfm_ray.errors import DataError

GROUP_ROWS = "group_rows"
"""In a manifest's `about`: rows of each group."""


def commit_groups(directory: Location, groups: Iterable[pa.Table], about: dict[str, Any], stopwatch: Stopwatch) -> None:
    """Write groups as one Parquet file with a row group for each that has rows, and commit it.

    Args:
        groups: one at least, all of the same columns, in order; each is held only while it is written.
        about: for the manifest.
    """
    groups = iter(groups)
    first = next(groups)
    sink, sizes = pa.BufferOutputStream(), []
    options = {"compression": "lz4", "use_dictionary": False, "write_statistics": False, "write_page_checksum": True}
    with pq.ParquetWriter(sink, first.schema, **options) as writer:
        for group in chain([first], groups):
            sizes.append(group.num_rows)
            if group.num_rows:
                writer.write_table(group, row_group_size=group.num_rows)
    file = write_file(directory, "groups", ".parquet", sink.getvalue().to_pybytes(), sum(sizes))
    commit(directory, [file], about | {GROUP_ROWS: sizes}, stopwatch)


def scattered(rows: pa.Table, groups: NDArray[np.uint16], count: int) -> Iterator[pa.Table]:
    """The rows of each group, in their order.

    Args:
        groups: (N,) in [0, count).
    """
    rows = rows.take(pa.array(np.argsort(groups, kind="stable")))
    sizes = np.bincount(groups, minlength=count)
    for begin, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        yield rows.slice(int(begin), int(size))


def read_column(directory: Location, column: str) -> NDArray[Any]:
    """A column of all groups, in order."""
    system, path = (directory / require(directory).files[0].name).opened()
    with system.open_input_file(path) as source:
        return np.asarray(pq.read_table(source, columns=[column], use_threads=False)[column].to_numpy())


def read_group(directory: Location, group: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one group of a committed piece.

    Raises:
        DataError: the group has more or fewer rows than its manifest says.
    """
    manifest = require(directory)
    sizes: list[int] = manifest.about[GROUP_ROWS]
    place = directory / manifest.files[0].name
    system, path = place.opened()
    with system.open_input_file(path) as source:
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        if not sizes[group]:
            schema = parquet.schema_arrow
            return schema.empty_table().select(list(columns or schema.names))
        stored = sum(1 for size in sizes[:group] if size)
        rows = parquet.read_row_group(stored, columns=None if columns is None else list(columns), use_threads=False)
    if rows.num_rows != sizes[group]:
        raise DataError(f"{place}, group {group}, has {rows.num_rows} rows but its manifest says {sizes[group]}")
    return rows
