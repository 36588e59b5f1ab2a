"""TaobaoAd_x1 (reczoo) as a source of day partitions. It has no times, so only its last day is a real one.

test.csv is the last of the eight days exactly; train.csv is cut equally into the days before, in the order of the
file. Events are spread evenly over a day.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exfm_ray.config import TaobaoData
from exfm_ray.data.commit import Manifest, Stopwatch, require
from exfm_ray.data.location import Location
from exfm_ray.data.logs.groups import commit_groups, read_groups, write_groups
from exfm_ray.data.logs.history import window_places
from exfm_ray.data.logs.joined_numbers import as_bytes, from_bytes, split_numbers
from exfm_ray.data.logs.line_ranges import LineRange
from exfm_ray.data.logs.text_table import TableBlock, TextTable
from exfm_ray.data.partitions import rebatch
from exfm_ray.data.source import Stage, piece_directory
from exfm_ray.data.taobao.days import day_table, domains_of_levels, told_domains
from exfm_ray.data.taobao.features import BTAGS, MISSING_ID, PIDS, Integers, coded, level_count, taobao_schema
from exfm_ray.data.taobao.files import (
    AD_IDS,
    DAY_SECONDS,
    HISTORIES,
    USER_ATTRIBUTES,
    X1_TEST,
    X1_TRAIN,
    X1Files,
    day_start,
    fingerprint,
)
from exfm_ray.data.taobao.scatter import require_rows
from exfm_ray.data.taobao.slices import Sizes
from exfm_ray.errors import UserError
from exfm_ray.schema import EVENT_ID, EVENT_TIME, Schema, label_column

LARGEST_ID = 10**18 - 1
GROUP_ROWS = 8_192
"""A day begins in the middle of a file; no more rows than these are read in vain."""


@dataclass(frozen=True)
class TaobaoX1Source:
    """A `StagedSource`: one stage reads the files, and the days are cut out of its pieces by row number.

    Raises, from stages and parts:
        UserError: a line of a file is wrong.
    """

    config: TaobaoData
    files: X1Files = field(compare=False)
    version: str
    """changes with the files, so that pieces of other files are not taken for theirs"""
    sizes: Sizes = field(default_factory=Sizes)
    work: Location | None = None

    @classmethod
    def of(cls, config: TaobaoData, files: X1Files) -> "TaobaoX1Source":
        return cls(config, files, fingerprint(files.train, files.test))

    @property
    def days(self) -> int:
        return self.config.days

    def schema(self) -> Schema:
        return taobao_schema(self.config, histories=True)

    def stages(self) -> tuple[Stage, ...]:
        return (Stage(self._name(), len(self._ranges()), self._make_rows),)

    def over(self, work: Location) -> "TaobaoX1Source":
        return replace(self, work=work)

    def parts(self, day: int) -> int:
        begin, end = self._rows_of(day)
        return max(1, -(-(end - begin) // self.sizes.slice_rows))

    def part(self, day: int, part: int) -> pa.Table:
        first, last = self._rows_of(day)
        begin = first + part * self.sizes.slice_rows
        rows = self.read(begin, min(begin + self.sizes.slice_rows, last))
        events = np.arange(begin, begin + rows.num_rows)
        day_ms = DAY_SECONDS * 1_000
        start = day_start(self.config.first_date) * 1_000 + (day - 1) * day_ms
        columns = {name: rows[name] for name in rows.column_names}
        columns |= {name: from_bytes(rows[name].combine_chunks()) for name in HISTORIES}
        columns |= {EVENT_ID: events, EVENT_TIME: start + (events - first) * day_ms // (last - first)}
        column = self.config.domain_column
        levels = rows[column].to_numpy() if column else np.zeros(len(events), dtype=np.int64)
        return day_table(self.schema(), columns, self._domain_of_level()[levels])

    def summary(self) -> dict[str, Any]:
        """What was read, for the user."""
        pieces = self._manifests()
        rows = sum(piece.rows for piece in pieces)
        spans = [self._rows_of(day) for day in range(1, self.days + 1)]
        return {
            "rows": rows,
            "days": self.days,
            "warning": f"days 1–{self.days - 1} are not real days: TaobaoAd_x1 has no times, so {X1_TRAIN} was cut "
            f"equally in the order of the file; only day {self.days} ({X1_TEST}) is one. Prepare the raw files for "
            "real days",
            "rows_per_day": [end - begin for begin, end in spans],
            "click_rate": sum(piece.about["clicks"] for piece in pieces) / rows,
            "distinct_ids": self._distinct_ids(),
            "user_levels_read_as_missing": sum(piece.about["levels_read_as_missing"] for piece in pieces),
            "domains": told_domains(self.config, self._domain_of_level()),
        }

    def _make_rows(self, work: Location, piece: int) -> None:
        directory = self.over(work)._pieces()[piece]
        commit_rows(self.config, *self._ranges()[piece], self.sizes.slice_rows, directory)

    def _ranges(self) -> list[tuple[TextTable, LineRange]]:
        return [
            (table, lines)
            for table in (self.files.train, self.files.test)
            for lines in table.ranges(self.sizes.range_bytes)
        ]

    def _rows_of(self, day: int) -> tuple[int, int]:
        """The rows of a day, counted through both files."""
        sizes = [piece.rows for piece in self._manifests()]
        count = len(self.files.train.ranges(self.sizes.range_bytes))
        train, every = sum(sizes[:count]), sum(sizes)
        if train < self.days - 1 or every == train:
            raise UserError(
                f"data.path: {X1_TRAIN} has {train} rows and {X1_TEST} {every - train}, but each of {self.days} days "
                "needs one at least; put the whole files there"
            )
        if day == self.days:
            return train, every
        return (day - 1) * train // (self.days - 1), day * train // (self.days - 1)

    def read(self, begin: int, end: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows by their numbers, counted through both files; histories packed."""
        read, first = [], 0
        for piece, manifest in zip(self._pieces(), self._manifests(), strict=True):
            for number, file in enumerate(manifest.files):
                low, high = max(begin - first, 0), min(end - first, file.rows)
                if low < high:
                    groups = range(low // GROUP_ROWS, -(-high // GROUP_ROWS))
                    rows = read_groups(piece, number, columns, groups)
                    read.append(rows.slice(low - groups.start * GROUP_ROWS, high - low))
                first += file.rows
        return pa.concat_tables(read).combine_chunks()

    def _domain_of_level(self) -> Integers:
        last = self._rows_of(self.config.domain_days)[1]
        return _decided_domains(self, last)

    def _distinct_ids(self) -> dict[str, int]:
        names = ("userid", "adgroup_id", *AD_IDS)
        found: dict[str, NDArray[Any]] = dict.fromkeys(names, np.empty(0, dtype=np.int64))
        for piece in self._pieces():
            for file in range(len(require(piece).files)):
                rows = read_groups(piece, file, names)
                found = {name: np.union1d(found[name], rows[name].to_numpy()) for name in names}
        return {name: len(values) for name, values in found.items()}

    def _name(self) -> str:
        return f"rows-{self.version}"

    def _pieces(self) -> list[Location]:
        assert self.work is not None
        return [piece_directory(self.work, self._name(), piece) for piece in range(len(self._ranges()))]

    def _manifests(self) -> list[Manifest]:
        return [require(piece) for piece in self._pieces()]


@lru_cache(maxsize=1)
def _decided_domains(source: TaobaoX1Source, rows: int) -> Integers:
    """Domains from the first rows, those of the days that decide them."""
    column = source.config.domain_column
    step = source.sizes.slice_rows
    counts = np.zeros(level_count(column) if column else 1, dtype=np.int64)
    for begin in range(0, rows if column else 0, step):
        levels = source.read(begin, min(begin + step, rows), [str(column)])[column].to_numpy()
        counts += np.bincount(levels, minlength=len(counts))
    return domains_of_levels(source.config, counts)


def commit_rows(config: TaobaoData, table: TextTable, lines: LineRange, file_rows: int, directory: Location) -> None:
    """Check the rows of a range and commit them in order, `file_rows` to a file.

    Raises:
        UserError: a line is wrong.
    """
    stopwatch = Stopwatch.start()
    told = {"clicks": 0, "levels_read_as_missing": 0}

    def read() -> Iterator[pa.Table]:
        for block in table.blocks(lines):
            _check(table, block)
            columns, odd = _columns(config, table, block)
            told["clicks"] += int(block.rows["clk"].to_numpy().sum())
            told["levels_read_as_missing"] += odd
            yield pa.table(columns)

    files = [write_groups(directory, rebatch([rows], GROUP_ROWS)) for rows in rebatch(read(), file_rows)]
    commit_groups(directory, files, told, stopwatch)


def _check(table: TextTable, block: TableBlock) -> None:
    rows = block.rows
    for column, limit in (("clk", 2), ("pid", len(PIDS)), ("btag", len(BTAGS) + 1)):
        values = rows[column].to_numpy()
        expected = " or ".join(map(str, range(limit))) if limit == 2 else f"0 to {limit - 1}"
        require_rows(table, block, column, (values < 0) | (values >= limit), expected)


def _history(table: TextTable, block: TableBlock, column: str, length: int) -> pa.BinaryArray:
    """The last `length` numbers of each row, in order, for the files have the newest last; packed."""
    limit = len(BTAGS) if column == "btag_his" else LARGEST_ID
    lists = split_numbers(block.rows[column].combine_chunks(), "^", limit)
    if lists is None:
        number = "[0-4]" if column == "btag_his" else "[0-9]{1,18}"
        fits = pc.match_substring_regex(block.rows[column], rf"^{number}(\^{number})*$").fill_null(True).to_numpy()
        expected = f"numbers{' from 0 to 4' if column == 'btag_his' else ''} joined by ^, or nothing"
        require_rows(table, block, column, ~fits, expected)
        raise AssertionError(f"numbers of {column} that cannot be read, in rows that nothing is wrong with")
    return as_bytes(_latest(lists, length))


def _columns(config: TaobaoData, table: TextTable, block: TableBlock) -> tuple[dict[str, Any], int]:
    """The columns of days, histories packed, and how many user levels were none."""
    rows = block.rows
    found: dict[str, Any] = {name: rows[name] for name in ("userid", "adgroup_id", "pid", "btag")}
    odd = 0
    for column in USER_ATTRIBUTES:
        found[column], not_levels = coded(column, rows[column])
        odd += not_levels
    found |= {name: rows[name].fill_null(MISSING_ID) for name in AD_IDS}
    found["price"] = rows["price"].fill_null(0).cast(pa.float32())
    found |= {name: _history(table, block, name, config.history_length) for name in HISTORIES}
    return found | {label_column("click"): rows["clk"].cast(pa.int8())}, odd


def _latest(lists: pa.ListArray, length: int) -> pa.ListArray:
    """The last `length` values of each list."""
    edges = lists.offsets.to_numpy()
    if (np.diff(edges) <= length).all():
        return lists
    offsets, places = window_places(np.maximum(edges[:-1], edges[1:] - length), edges[1:])
    return pa.ListArray.from_arrays(offsets, lists.values.to_numpy()[places])
