"""Events made per bucket of users, kept with what each user did before, until days gather them by time.

A list before an event is kept as its span in the user's whole list: lists of a hundred items per event would be many
times the size of the log, and are written out only in the day that they belong to.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from exfm_ray.data.commit import Stopwatch, commit, require
from exfm_ray.data.location import Location
from exfm_ray.data.logs.time_slices import TimeSlice, cut_days
from exfm_ray.data.partitions import read_rows, write_part

Integers = NDArray[np.int64]

TIME, USER, PLACE = "time", "user", "place"
"""Columns of all events: they are ordered by time, then user, then place, a number that differs within a user."""
BEGIN, END = "_begin", "_end"
"""`<list>_begin` and `<list>_end` are an event's span in its bucket's values of that list, the latest last."""


@dataclass(frozen=True)
class Gathered:
    """The events of one time slice, from all buckets, in order."""

    columns: pa.Table
    lists: dict[str, pa.ListArray]


def commit_user_events(
    directory: Location, events: pa.Table, lists: Mapping[str, Integers], about: dict[str, Any], stopwatch: Stopwatch
) -> None:
    """Commit the events of one bucket.

    Args:
        events: TIME, USER, PLACE, the spans of each list, and whatever else; in any order.
        lists: values by list.
        about: counts, for the summary.
    """
    order = np.lexsort((events[PLACE], events[USER], events[TIME]))
    files = [write_part(directory, 0, events.take(order))]
    files += [write_part(directory, part, pa.table({name: lists[name]})) for part, name in enumerate(lists, start=1)]
    commit(directory, files, {"lists": list(lists), "events": events.num_rows, **about}, stopwatch)


def event_times(directories: Sequence[Location]) -> NDArray[Any]:
    """(N,) times of all events, ascending: 8 bytes for each event of the log."""
    pieces = [_column(directory, 0, TIME) for directory in directories]
    times = np.concatenate(pieces)
    times.sort()
    return times


def distinct_values(pieces: Sequence[Location], name: str) -> Integers:
    """Ascending, of a column of the events of all buckets."""
    found = np.empty(0, np.int64)
    for directory in pieces:
        found = np.union1d(found, _column(directory, 0, name))
    return found


def _column(directory: Location, file: int, name: str) -> NDArray[Any]:
    tables = list(read_rows(directory, [name], files=[require(directory).files[file]]))
    return np.concatenate([table[name].to_numpy() for table in tables]) if tables else np.empty(0, np.int64)


def commit_slices(directory: Location, pieces: Sequence[Location], days: int, about: dict[str, Any]) -> None:
    """Commit how the events of all buckets are cut into days and slices: 8 bytes for each event are in memory.

    Raises:
        UserError: there are too few distinct times.
    """
    stopwatch = Stopwatch.start()
    slices = [asdict(piece) for piece in cut_days(event_times(pieces), days)]
    commit(directory, [], {"slices": slices, **about}, stopwatch)


@lru_cache(maxsize=4)
def read_slices(directory: Location) -> tuple[TimeSlice, ...]:
    """In order of time."""
    return tuple(TimeSlice(**piece) for piece in require(directory).about["slices"])


def totals(pieces: Sequence[Location]) -> Counter[str]:
    """Sums of what the buckets count."""
    summed: Counter[str] = Counter()
    for directory in pieces:
        summed.update({name: count for name, count in require(directory).about.items() if name != "lists"})
    return summed


def gather(pieces: Sequence[Location], piece: TimeSlice) -> Gathered:
    """The events of a time slice; in memory at once are they and one list of one bucket."""
    tables = [_events_between(directory, piece) for directory in pieces]
    events = pa.concat_tables(tables)
    order = np.lexsort((events[PLACE], events[USER], events[TIME]))
    buckets = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables])[order]
    events = events.take(order)
    names: list[str] = require(pieces[0]).about["lists"]
    return Gathered(events, {name: _filled(pieces, name, place, events, buckets) for place, name in enumerate(names)})


def _filled(pieces: Sequence[Location], name: str, place: int, events: pa.Table, buckets: Integers) -> pa.ListArray:
    """One list of each event, read bucket by bucket into its place."""
    begins, ends = (events[name + suffix].to_numpy() for suffix in (BEGIN, END))
    lengths = ends - begins
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    filled = np.empty(offsets[-1], np.int64)
    for bucket, directory in enumerate(pieces):
        rows = np.flatnonzero(buckets == bucket)
        values = _column(directory, place + 1, name)
        filled[_ranges(offsets[:-1][rows], lengths[rows])] = values[_ranges(begins[rows], lengths[rows])]
    return pa.ListArray.from_arrays(offsets.astype(np.int32), filled)


def _ranges(begins: Integers, lengths: Integers) -> Integers:
    """begin, begin + 1, … of each range, one range after the other."""
    ends = np.cumsum(lengths)
    places: Integers = np.arange(lengths.sum()) + np.repeat(begins - (ends - lengths), lengths)
    return places


def _events_between(directory: Location, piece: TimeSlice) -> pa.Table:
    """The events of one bucket in a time slice; only the row groups that reach into it are read."""
    system, path = (directory / require(directory).files[0].name).opened()
    with system.open_input_file(path) as source:
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        column = parquet.schema_arrow.names.index(TIME)
        groups = []
        for group in range(parquet.metadata.num_row_groups):
            found = parquet.metadata.row_group(group).column(column).statistics
            if found is not None and found.has_min_max:
                groups += [group] if found.max >= piece.first_time and found.min <= piece.last_time else []
        events = parquet.read_row_groups(groups)
    times = events[TIME].to_numpy()
    begin, end = np.searchsorted(times, piece.first_time), np.searchsorted(times, piece.last_time, side="right")
    return events.slice(begin, end - begin)
