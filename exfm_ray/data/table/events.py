"""From rows of a reader's own table, as they stand in its files, to events as runs hold them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exfm_ray.config import TableData
from exfm_ray.data.logs.distinct import DistinctSketch
from exfm_ray.data.table.chunks import Chunk
from exfm_ray.data.table.plan import domain_names
from exfm_ray.data.table.runs import run_schema
from exfm_ray.data.table.tally import Tally
from exfm_ray.data.table.times import calendar_bounds, optional_times, times
from exfm_ray.data.table.values import (
    check_identity,
    features,
    ids,
    labels,
    levels,
    numbers,
    sequences,
    shown,
)
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, STAGE, Feature, Schema, delay_column, label_column

MOST_ROWS_OF_A_PIECE = 2**36
"""Where rows have no time, an event's is this many times its piece, plus its row, until its day is known."""
LONGEST_DELAY = 2**31 - 1


def table_schema(config: TableData) -> Schema:
    """Columns of the day partitions; they depend on the configuration alone."""
    return Schema(
        features=(
            *(
                Feature(name=n, kind="categorical", rows=c.rows, encoding=c.encoding, fm_only=c.fm_only)
                for n, c in config.categorical.items()
            ),
            *(Feature(name=n, kind="numeric", fm_only=c.fm_only) for n, c in config.numeric.items()),
            *(
                Feature(name=n, kind="sequence", shares=c.shares, owner=c.owner, fm_only=c.fm_only)
                for n, c in config.sequences.items()
            ),
        ),
        tasks=tuple(config.tasks),
        domains=domain_names(config),
        stages=config.stage.levels if config.stage is not None else ("later",),
        has_delays=any(task.delay or task.feedback_time for task in config.tasks.values()),
    )


def used_columns(config: TableData) -> tuple[str, ...]:
    """Columns of the table that the configuration names, each once."""
    named = [*config.answer_columns, *config.feature_columns().values()]
    named += [config.time.column] if config.time is not None else []
    named += [part.column for part in (config.domain, config.stage) if part is not None]
    named += [config.event_id] if config.event_id is not None else []
    return tuple(dict.fromkeys(named))


@dataclass(frozen=True)
class EventReader:
    """Makes events of chunks, and tallies them."""

    config: TableData
    tally: Tally
    piece: int
    """number of the piece that the chunks are of, in their order"""

    def __call__(self, chunk: Chunk) -> pa.Table:
        """The events of a chunk in its order, rows of no day, domain or stage left out.

        Raises:
            UserError: a value is wrong.
        """
        columns, kept = self._placed(chunk)
        columns |= self._answers(chunk, columns[EVENT_TIME], kept)
        columns |= self._features(chunk, kept)
        if self.config.event_id is not None:
            columns[EVENT_ID] = self._event_ids(chunk)
        expected = run_schema(table_schema(self.config), self.config.event_id is not None)
        arrays = [pa.array(columns[name]).cast(expected.field(name).type) for name in expected.names]
        table = pa.Table.from_arrays(arrays, schema=expected)
        return table if kept.all() else table.filter(pa.array(kept))

    def _placed(self, chunk: Chunk) -> tuple[dict[str, Any], NDArray[np.bool_]]:
        """Time, domain and stage of each row, and which rows have all of them."""
        config, count = self.config, len(chunk)
        moments = self._moments(chunk)
        kept = np.ones(count, dtype=np.bool_)
        self.tally.rows["rows_read"] += count
        if config.days.first is not None and config.time is not None:
            bounds = calendar_bounds(config.days.first, config.days.count, config.time.zone)
            self._drop(kept, moments < bounds[0], "rows_before_the_first_day_dropped")
            self._drop(kept, moments >= bounds[-1], "rows_after_the_last_day_dropped")
        domains: Any = pa.array(np.repeat("all", count))
        if config.domain is not None:
            domains = levels(chunk.cells(config.domain.column), config.nulls).cast(pa.string())
            if config.domain.levels is not None:
                known = pc.is_in(domains, value_set=pa.array(config.domain.levels)).to_numpy(zero_copy_only=False)
                self._drop(kept, ~known, "rows_of_no_domain_dropped")
        stages = np.zeros(count, dtype=np.int16)
        if config.stage is not None:
            found = levels(chunk.cells(config.stage.column), config.nulls).cast(pa.string())
            places = pc.index_in(found, value_set=pa.array(config.stage.levels))
            stages = places.fill_null(-1).to_numpy(zero_copy_only=False)
            self._drop(kept, stages < 0, "rows_of_no_stage_dropped")
        self.tally.rows["kept"] += int(kept.sum())
        return {EVENT_TIME: moments, DOMAIN: domains, STAGE: stages}, kept

    def _moments(self, chunk: Chunk) -> NDArray[np.int64]:
        time = self.config.time
        if time is None:
            row = self.tally.rows["rows_read"]
            return np.arange(row, row + len(chunk), dtype=np.int64) + self.piece * MOST_ROWS_OF_A_PIECE
        return times(chunk.cells(time.column), time, self.config.nulls)

    def _drop(self, kept: NDArray[np.bool_], wrong: NDArray[np.bool_], reason: str) -> None:
        dropped = kept & wrong
        self.tally.rows[reason] += int(dropped.sum())
        kept &= ~wrong

    def _answers(self, chunk: Chunk, moments: NDArray[np.int64], kept: NDArray[np.bool_]) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for task, named in self.config.tasks.items():
            positive = labels(chunk.cells(named.label), self.config.nulls)
            delays = self._delays(chunk, task, moments, positive)
            columns[label_column(task)] = pa.array(positive).cast(pa.int8())
            known = positive & ~np.isnan(delays)
            columns[delay_column(task)] = pa.array(np.where(known, delays, 0).astype(np.int32), mask=~known)
            self.tally.add_answers(task, positive & kept, delays[known & kept])
        return columns

    def _delays(
        self, chunk: Chunk, task: str, moments: NDArray[np.int64], positive: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """(N,) whole seconds to the feedback, NaN where it is unknown; only those of positives are checked."""
        named = self.config.tasks[task]
        column = named.delay or named.feedback_time
        if column is None:
            return np.full(len(chunk), np.nan)
        cells = chunk.cells(column)
        if named.delay is not None:
            delays, allowed = numbers(cells, self.config.nulls), f"seconds from 0 to {LONGEST_DELAY}, or nothing"
        else:
            assert self.config.time is not None, "a feedback time without an event time is refused"
            delays = (optional_times(cells, self.config.time, self.config.nulls) - moments) / 1_000
            allowed = f"a time at or after the event's, by {LONGEST_DELAY} seconds at most, or nothing"
        wrong = positive & ((delays < 0) | (delays > LONGEST_DELAY))
        if wrong.any():
            row = int(wrong.argmax())
            raise cells.mistake(row, shown(cells.values[row].as_py()), allowed)
        return np.asarray(np.floor(delays), dtype=np.float64)

    def _features(self, chunk: Chunk, kept: NDArray[np.bool_]) -> dict[str, Any]:
        config, columns = self.config, {}
        sources, nulls = config.feature_columns(), config.nulls
        for name, category in config.categorical.items():
            cells = chunk.cells(sources[name])
            values, missing = ids(cells, nulls, category.missing_id)
            if category.encoding == "identity":
                check_identity(values, category.rows, int, cells)
            columns[name] = values
            self.tally.filled[name] += missing
            self.tally.add_distinct(name, DistinctSketch.of(values[kept]))
        for name, number in config.numeric.items():
            columns[name], missing = features(chunk.cells(sources[name]), nulls, number.missing, number.transform)
            self.tally.filled[name] += missing
        for name, sequence in config.sequences.items():
            cells = chunk.cells(sources[name])
            lists, row_of = sequences(cells, nulls, sequence.separator, sequence.length)
            shared = config.categorical[sequence.shares]
            if shared.encoding == "identity":
                check_identity(lists.flatten().to_numpy(), shared.rows, row_of, cells)
            columns[name] = lists
        return columns

    def kept_ids(self, chunk: Chunk) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(N,) event ids of the chunk's rows, and which rows are not left out."""
        return self._event_ids(chunk), self._placed(chunk)[1]

    def _event_ids(self, chunk: Chunk) -> NDArray[np.int64]:
        assert self.config.event_id is not None
        cells = chunk.cells(self.config.event_id)
        values, missing = ids(cells, self.config.nulls, -1)
        if missing:
            raise cells.mistake(int((values == -1).argmax()), None, "an id of its own in each row")
        return values
