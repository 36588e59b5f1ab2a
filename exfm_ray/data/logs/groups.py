"""Rows scattered into groups: a committed piece of a stage whose every group is read on its own."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from exfm_ray.data.commit import CommittedFile, Stopwatch, commit, require, write_file
from exfm_ray.data.location import Location
from exfm_ray.errors import DataError

GROUP_ROWS = "group_rows"
"""In a manifest's `about`: for each file, the rows of each group."""


@dataclass(frozen=True)
class GroupFile:
    """A written file of a piece, whose row groups are the groups that have rows in it."""

    file: CommittedFile
    group_rows: list[int]


def write_groups(directory: Location, groups: Iterable[pa.Table]) -> GroupFile:
    """Write groups as one Parquet file, which `commit_groups` makes exist.

    Args:
        groups: one at least, all of the same columns, in order; each is held only while it is written.
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
    return GroupFile(write_file(directory, "groups", ".parquet", sink.getvalue().to_pybytes(), sum(sizes)), sizes)


def commit_groups(directory: Location, files: Sequence[GroupFile], about: dict[str, Any], stopwatch: Stopwatch) -> None:
    """Make a piece exist that consists of some files, in order."""
    about = about | {GROUP_ROWS: [file.group_rows for file in files]}
    commit(directory, [file.file for file in files], about, stopwatch)


def scattered(rows: pa.Table, groups: NDArray[np.uint16], count: int) -> Iterator[pa.Table]:
    """The rows of each group, in their order.

    Args:
        groups: (N,) in [0, count).
    """
    rows = rows.take(pa.array(np.argsort(groups, kind="stable")))
    sizes = np.bincount(groups, minlength=count)
    for begin, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        yield rows.slice(int(begin), int(size))


def read_group(directory: Location, group: int) -> pa.Table:
    """The rows that a group of a committed piece has in all files, in order.

    Raises:
        DataError: a file has more or fewer rows than its manifest says.
    """
    manifest = require(directory)
    sizes: list[list[int]] = manifest.about[GROUP_ROWS]
    read = [
        _read(directory / file.name, [_row_group(of_file, group)] if of_file[group] else [], of_file[group])
        for file, of_file in zip(manifest.files, sizes, strict=True)
    ]
    return pa.concat_tables(read)


def read_groups(
    directory: Location, file: int, columns: Sequence[str] | None = None, groups: range | None = None
) -> pa.Table:
    """Consecutive groups of one file of a committed piece, all where `groups` is left out.

    Raises:
        DataError: they have more or fewer rows than the manifest says.
    """
    manifest = require(directory)
    sizes: list[int] = manifest.about[GROUP_ROWS][file]
    wanted = range(len(sizes)) if groups is None else groups
    row_groups = [_row_group(sizes, group) for group in wanted if sizes[group]]
    expected = sum(sizes[group] for group in wanted)
    return _read(directory / manifest.files[file].name, row_groups, expected, columns)


def _row_group(sizes: Sequence[int], group: int) -> int:
    """Groups without rows have no row group."""
    return sum(1 for size in sizes[:group] if size)


def _read(place: Location, row_groups: list[int], expected: int, columns: Sequence[str] | None = None) -> pa.Table:
    system, path = place.opened()
    with system.open_input_file(path) as source:
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        rows = parquet.read_row_groups(row_groups, None if columns is None else list(columns), use_threads=False)
    if rows.num_rows != expected:
        raise DataError(f"{place} has {rows.num_rows} rows in row groups {row_groups} but must have {expected}")
    return rows
