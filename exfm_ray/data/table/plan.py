"""Where the days and the time slices of a table begin, and which domain each level is of: planned once, from its runs.

Times are counted by bisection of all runs at once: a pass over the runs' times counts every span between edges, and
spans that are still too coarse get more edges. One run's times are in memory at a time.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from exfm_ray.config import TableData
from exfm_ray.data.commit import CommittedFile, Stopwatch, commit, read_file, require, write_named_file
from exfm_ray.data.location import Location
from exfm_ray.data.logs.domains import merge_levels
from exfm_ray.data.table.runs import Run, read_column
from exfm_ray.data.table.times import calendar_bounds
from exfm_ray.errors import UserError
from exfm_ray.schema import DOMAIN, EVENT_TIME

Integers = NDArray[np.int64]

SLICE_BYTES = 192 * 2**20
"""of a time slice in memory"""
EDGES_AT_ONCE = 256
MOST_LEVELS = 1_000
PLAN_FILE = "plan.json"


class Slice(BaseModel):
    """A part of a day: the rows of a span of time in some of the runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    begin: int
    end: int
    """milliseconds, exclusive"""
    first_run: int
    last_run: int
    """exclusive; all runs, unless one millisecond alone has too many rows for a slice"""
    rows: int
    first_event_id: int


class Plan(BaseModel):
    """All that a part of a day needs to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[Run, ...]
    days: tuple[tuple[Slice, ...], ...]
    domains: dict[str, int]
    """domain of each level that was counted or listed"""
    other_domain: int
    """of all other levels"""


@dataclass(frozen=True)
class TimeCounts:
    """How many rows of all runs lie between moments."""

    runs: Sequence[Run]

    def by_run(self, edges: Integers) -> Integers:
        """(R, E - 1) rows of each run between neighbouring edges."""
        times = (np.asarray(read_column(run, EVENT_TIME).to_numpy()) for run in self.runs)
        return np.array([np.diff(np.searchsorted(of_run, edges)) for of_run in times], dtype=np.int64)

    def between(self, edges: Integers) -> Integers:
        """(E - 1,) rows between neighbouring edges."""
        counts = np.zeros(len(edges) - 1, dtype=np.int64)
        for run in self.runs:
            counts += np.diff(np.searchsorted(read_column(run, EVENT_TIME).to_numpy(), edges))
        return counts

    def refined(self, edges: Integers, is_coarse: Callable[[Integers], NDArray[np.bool_]]) -> tuple[Integers, Integers]:
        """Edges with more among them until no span is coarse, or only those of a single millisecond are.

        Args:
            edges: (E,) ascending moments.
            is_coarse: which spans, given the rows of all, must be cut further.

        Returns:
            the edges, and the rows between neighbours.
        """
        while True:
            counts = self.between(edges)
            coarse = np.flatnonzero(is_coarse(counts) & (np.diff(edges) > 1))
            if not len(coarse):
                return edges, counts
            steps = np.arange(EDGES_AT_ONCE, dtype=np.int64)
            finer = edges[coarse, None] + np.diff(edges)[coarse, None] * steps // EDGES_AT_ONCE
            edges = np.unique(np.concatenate([edges, finer.ravel()]))


def make_plan(config: TableData, runs: Sequence[Run], slice_bytes: int) -> Plan:
    """Plan the days of a table.

    Raises:
        UserError: a day would have no rows, or there are too few or too many levels for the domains.
    """
    if not runs:
        raise UserError("data.days: the table has no rows in them; name days and levels that it has")
    counts = TimeCounts(runs)
    bounds = _day_bounds(config, counts)
    _check_days(config, bounds, counts.between(bounds))
    target = max(1, slice_bytes * sum(run.rows for run in runs) // max(1, sum(run.bytes for run in runs)))
    domains, other = _domains(config, runs, bounds)
    return Plan(runs=tuple(runs), days=_days(counts, bounds, target), domains=domains, other_domain=other)


def _day_bounds(config: TableData, counts: TimeCounts) -> Integers:
    """(days + 1,) moments at which a day begins, and the last one ends."""
    days = config.days
    first, last = min(run.first for run in counts.runs), max(run.last for run in counts.runs) + 1
    if days.cut == "equal_spans":
        return np.array([first + (last - first) * day // days.count for day in range(days.count + 1)], dtype=np.int64)
    if days.cut == "equal_rows":
        return _equal_rows(counts, first, last, days.count)
    assert days.first is not None
    assert config.time is not None
    return calendar_bounds(days.first, days.count, config.time.zone)


def _equal_rows(counts: TimeCounts, first: int, last: int, days: int) -> Integers:
    """Bounds of days of as many rows as can be while rows of one time stay together."""
    total = sum(run.rows for run in counts.runs)
    ranks = np.array([total * day // days for day in range(1, days)], dtype=np.int64)

    def holds_a_rank(between: Integers) -> NDArray[np.bool_]:
        below = np.concatenate([[0], np.cumsum(between)])
        return np.searchsorted(ranks, below[1:], "left") > np.searchsorted(ranks, below[:-1], "right")

    edges, between = counts.refined(np.array([first, last], dtype=np.int64), holds_a_rank)
    below = np.concatenate([[0], np.cumsum(between)])
    after = np.searchsorted(below, ranks)
    nearest = np.where(ranks - below[after - 1] <= below[after] - ranks, after - 1, after)
    return np.concatenate([[first], edges[nearest], [last]]).astype(np.int64)


def _check_days(config: TableData, bounds: Integers, rows: Integers) -> None:
    empty = np.flatnonzero(rows == 0)
    if not len(empty):
        return
    mend = "choose dates that all have rows" if config.days.cut == "calendar" else "lower the count of days"
    begin, end = (np.datetime64(int(bounds[empty[0] + step]), "ms") for step in (0, 1))
    raise UserError(
        f"data.days: day {empty[0] + 1} of {len(rows)}, from {begin} to {end} UTC, has no rows (rows per day are "
        f"{', '.join(map(str, rows[:16]))}{', …' if len(rows) > 16 else ''}); {mend}"
    )


def _days(counts: TimeCounts, bounds: Integers, target: int) -> tuple[tuple[Slice, ...], ...]:
    """The slices of each day, of about `target` rows at most."""
    edges, between = counts.refined(bounds, lambda rows: rows > target)
    first_id, days = 0, []
    for begin, end in pairwise(bounds):
        inside = slice(*np.searchsorted(edges, [begin, end]))
        spans = list(_grouped(between[inside], target))
        day = []
        for start, stop in spans:
            left, right = int(edges[inside][start]), int(edges[inside.start + stop])
            for slice_ in _cut_by_run(counts, left, right, int(between[inside][start:stop].sum()), target, first_id):
                day.append(slice_)
                first_id += slice_.rows
        days.append(tuple(day))
    return tuple(days)


def _cut_by_run(counts: TimeCounts, begin: int, end: int, rows: int, target: int, first_id: int) -> Iterator[Slice]:
    """A span as one slice; or where one millisecond alone has more rows than that, as several, each of some runs."""
    spans, of_runs = [(0, len(counts.runs))], np.array([rows])
    if rows > target:
        of_runs = counts.by_run(np.array([begin, end]))[:, 0]
        spans = list(_grouped(of_runs, target))
    for first, last in spans:
        held = rows if len(spans) == 1 else int(of_runs[first:last].sum())
        yield Slice(begin=begin, end=end, first_run=first, last_run=last, rows=held, first_event_id=first_id)
        first_id += held


def _grouped(sizes: Integers, target: int) -> Iterator[tuple[int, int]]:
    """Neighbours whose sizes add up to at most `target`, or one alone; those without any rows stand in none alone."""
    begin, held = 0, 0
    for index, size in enumerate(sizes):
        if held and held + size > target:
            yield begin, index
            begin, held = index, 0
        held += int(size)
    if held:
        yield begin, len(sizes)


def _domains(config: TableData, runs: Sequence[Run], bounds: Integers) -> tuple[dict[str, int], int]:
    """The domain of each level, and that of all others."""
    domain = config.domain
    if domain is None or domain.levels is not None:
        names = domain_names(config)
        return {name: index for index, name in enumerate(names)}, 0
    assert domain.counted_through_day is not None
    counted = count_levels(runs, int(bounds[domain.counted_through_day]), domain.column)
    wanted = domain.largest or domain.merge_into or 0
    if len(counted) < wanted:
        raise UserError(
            f"data.domain: {domain.column!r} has {len(counted)} levels through day {domain.counted_through_day}, fewer "
            f"than {wanted} domains; lower it"
        )
    by_size = sorted(counted, key=lambda level: (-counted[level], level))
    if domain.largest is not None:
        return {level: index for index, level in enumerate(by_size[:wanted])}, wanted
    merged = merge_levels({index: counted[level] for index, level in enumerate(by_size)}, wanted)
    sizes: Counter[int] = Counter()
    for index, group in merged.items():
        sizes[group] += counted[by_size[index]]
    return {by_size[index]: group for index, group in merged.items()}, min(
        sizes, key=lambda group: (sizes[group], group)
    )


def count_levels(runs: Sequence[Run], end: int, column: str) -> Mapping[str, int]:
    """Rows of each level before a moment.

    Raises:
        UserError: there are too many levels for domains.
    """
    counted: Counter[str] = Counter()
    for run in runs:
        rows = int(np.searchsorted(read_column(run, EVENT_TIME).to_numpy(), end))
        for entry in pc.value_counts(read_column(run, DOMAIN).slice(0, rows)).to_pylist():
            counted[entry["values"]] += entry["counts"]
        if len(counted) > MOST_LEVELS:
            raise UserError(f"data.domain: {column!r} has more than {MOST_LEVELS} levels; choose a coarser column")
    return counted


def domain_names(config: TableData) -> tuple[str, ...]:
    """What a user calls each domain."""
    domain = config.domain
    if domain is None:
        return ("all",)
    if domain.levels is not None:
        return domain.levels
    if domain.largest is not None:
        return (*(f"{domain.column} no. {place + 1}" for place in range(domain.largest)), f"{domain.column}, others")
    return tuple(f"{domain.column} group {group + 1}" for group in range(domain.merge_into or 0))


def commit_plan(directory: Location, plan: Plan) -> None:
    stopwatch = Stopwatch.start()
    content = plan.model_dump_json().encode()
    commit(directory, [write_named_file(directory, PLAN_FILE, content)], {}, stopwatch)


def read_plan(directory: Location) -> Plan:
    """A committed plan."""
    (file,) = require(directory).files
    return _parsed_plan(directory, file)


@lru_cache(maxsize=2)
def _parsed_plan(directory: Location, file: CommittedFile) -> Plan:
    return Plan.model_validate_json(read_file(directory, file))
