"""A reader's own table, CSV or Parquet, as a source of day partitions.

Rows come in any order. First they are scattered: each piece of the files becomes runs of events sorted by time. Then
the days and their time slices are planned. A part of a day gathers its slice from the runs. Where the table names ids
of its events, all of them are compared before.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from exfm_ray.config import CsvData, ParquetData
from exfm_ray.data.commit import Stopwatch, commit, require
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema
from exfm_ray.data.source import Stage, piece_directory
from exfm_ray.data.table.chunks import read_piece
from exfm_ray.data.table.events import EventReader, table_schema, used_columns
from exfm_ray.data.table.files import PIECE_BYTES, Piece, column_names, cut_pieces, fingerprint, table_files
from exfm_ray.data.table.ids import bucket_count, commit_distinct, commit_ids
from exfm_ray.data.table.plan import SLICE_BYTES, Plan, Slice, commit_plan, make_plan, read_plan
from exfm_ray.data.table.runs import RUN_BYTES, Run, gather, in_run_sizes, write_run
from exfm_ray.data.table.tally import Tally, read_tally, summarize, write_tally
from exfm_ray.errors import UserError
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, Schema

MILLISECONDS_PER_DAY = 86_400_000


@dataclass(frozen=True)
class Bounds:
    """Sizes that keep memory bounded; no day depends on them."""

    piece_bytes: int = PIECE_BYTES
    run_bytes: int = RUN_BYTES
    slice_bytes: int = SLICE_BYTES


@dataclass(frozen=True)
class TableSource:
    """A `StagedSource`; its files were looked at once, when it was opened."""

    config: CsvData | ParquetData
    pieces: tuple[Piece, ...]
    fingerprint: str
    """in the names of the stages, so that nothing is taken over from other files or another configuration"""
    bounds: Bounds
    buckets: int
    """over which event ids are scattered"""
    work: Location | None = None

    @classmethod
    def opened(cls, config: CsvData | ParquetData, bounds: Bounds | None = None) -> "TableSource":
        """Look at the files: their names, sizes and headers.

        Raises:
            UserError: there is none, one is no such file, or it lacks a column.
        """
        files, bounds = table_files(config.path, config.type), bounds or Bounds()
        for place in files:
            _check_columns(place, config)
        pieces = cut_pieces(files, config.delimiter, bounds.piece_bytes)
        buckets = bucket_count(files, len(pieces), bounds.piece_bytes)
        return cls(config, pieces, fingerprint(f"{config.model_dump_json()} {bounds}", files), bounds, buckets)

    @property
    def days(self) -> int:
        return self.config.days.count

    def schema(self) -> Schema:
        return table_schema(self.config)

    def stages(self) -> tuple[Stage, ...]:
        scatter, plan = Stage(self._scatter, len(self.pieces), self.scatter), Stage(self._plan, 1, self.plan)
        if self.config.event_id is None:
            return (scatter, plan)
        ids = Stage(self._ids, len(self.pieces), self.scatter_ids)
        return (scatter, ids, Stage(self._distinct, self.buckets, self.check_ids), plan)

    @property
    def _scatter(self) -> str:
        return f"scatter-{self.fingerprint}"

    @property
    def _ids(self) -> str:
        return f"ids-{self.fingerprint}"

    @property
    def _distinct(self) -> str:
        return f"distinct-{self.fingerprint}"

    @property
    def _plan(self) -> str:
        return f"plan-{self.fingerprint}"

    def over(self, work: Location) -> "TableSource":
        return replace(self, work=work)

    def scatter(self, work: Location, piece: int) -> None:
        """Make a piece's events and write them as sorted runs, with what was tallied."""
        stopwatch, tally = Stopwatch.start(), Tally()
        directory = piece_directory(work, self._scatter, piece)
        read = EventReader(self.config, tally, piece)
        chunks = read_piece(self.pieces[piece], self.config.delimiter, used_columns(self.config))
        events = (table for chunk in chunks if (table := read(chunk)).num_rows)
        sized = in_run_sizes(events, self.bounds.run_bytes)
        written = [write_run(directory, number, rows) for number, rows in enumerate(sized)]
        files = [file for file, _ in written]
        tallied = write_tally(directory, tally)
        commit(directory, [*files, tallied], {"runs": [run.model_dump() for _, run in written]}, stopwatch)

    def scatter_ids(self, work: Location, piece: int) -> None:
        """Scatter the event ids of a piece over buckets."""
        runs = _runs(piece_directory(work, self._scatter, piece))
        commit_ids(runs, self.buckets, piece_directory(work, self._ids, piece))

    def check_ids(self, work: Location, bucket: int) -> None:
        """Refuse two events that share an id of a bucket."""
        ids = [piece_directory(work, self._ids, piece) for piece in range(len(self.pieces))]
        commit_distinct(self.config, self.pieces, ids, bucket, piece_directory(work, self._distinct, bucket))

    def plan(self, work: Location, piece: int) -> None:
        """Plan the days from the runs of all pieces."""
        runs = [run for directory in self._scattered(work) for run in _runs(directory)]
        commit_plan(piece_directory(work, self._plan, piece), make_plan(self.config, runs, self.bounds.slice_bytes))

    def _scattered(self, work: Location) -> list[Location]:
        return [piece_directory(work, self._scatter, piece) for piece in range(len(self.pieces))]

    @property
    def _planned(self) -> Plan:
        assert self.work is not None, "the days of a table are known over its stages"
        return read_plan(piece_directory(self.work, self._plan, 0))

    def parts(self, day: int) -> int:
        return len(self._planned.days[day - 1])

    def part(self, day: int, part: int) -> pa.Table:
        plan = self._planned
        wanted = plan.days[day - 1][part]
        events = gather(plan.runs[wanted.first_run : wanted.last_run], wanted.begin, wanted.end)
        if self.config.time is None:
            events = _spread_over_day(events, day, plan.days[day - 1], wanted)
        return _partition(events, plan, wanted, self.config.event_id, self.schema())

    def summary(self) -> dict[str, Any]:
        """What was read, for the user: counts, label rates, late feedback, and what was dropped or filled."""
        assert self.work is not None, "the rows of a table are counted by its stages"
        tally = Tally()
        for directory in self._scattered(self.work):
            tally.add(read_tally(directory))
        return summarize(self.config, tally, self._planned)


def _runs(directory: Location) -> list[Run]:
    """Of a scattered piece."""
    return [Run.model_validate(run) for run in require(directory).about["runs"]]


def _spread_over_day(events: pa.Table, day: int, slices: Sequence[Slice], wanted: Slice) -> pa.Table:
    """Events of a table without times, at even distances from the beginning of a day to its end, counted from 1970."""
    rows = sum(part.rows for part in slices)
    places = np.arange(wanted.rows) + wanted.first_event_id - slices[0].first_event_id
    moments = (day - 1) * MILLISECONDS_PER_DAY + places * MILLISECONDS_PER_DAY // rows
    return events.set_column(events.column_names.index(EVENT_TIME), EVENT_TIME, pa.array(moments))


def _partition(events: pa.Table, plan: Plan, wanted: Slice, event_id: str | None, schema: Schema) -> pa.Table:
    """A time slice as a partition holds it: domains by number, and events numbered where they have no id."""
    levels = events[DOMAIN].combine_chunks().dictionary_encode()
    encoded = levels.combine_chunks() if isinstance(levels, pa.ChunkedArray) else levels
    domains = [plan.domains.get(level, plan.other_domain) for level in encoded.dictionary.to_pylist()]
    columns = {name: events[name] for name in events.column_names}
    columns[DOMAIN] = pa.array(np.array(domains, dtype=np.int16)[encoded.indices.to_numpy()])
    if event_id is None:
        columns[EVENT_ID] = pa.array(np.arange(wanted.first_event_id, wanted.first_event_id + wanted.rows))
    expected = arrow_schema(schema)
    return pa.table([columns[name] for name in expected.names], schema=expected)


def _check_columns(place: Location, config: CsvData | ParquetData) -> None:
    known = column_names(place, config.delimiter)
    for column in used_columns(config):
        if column not in known:
            nearest = difflib.get_close_matches(column, known, n=1)
            mend = f"did you mean {nearest[0]!r}?" if nearest else f"it has {', '.join(known)[:400]}"
            raise UserError(f"data: {place} has no column {column!r}; {mend}")
