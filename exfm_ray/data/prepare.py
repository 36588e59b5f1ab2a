"""Preparing a data set: from any source of days to committed day partitions, once, and resumable at any point."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from exfm_ray.data.commit import CommittedFile, Stopwatch, require, sweep
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import (
    SCHEMA_FILE,
    commit_partition,
    committed_days,
    read_schema,
    write_partition_part,
    write_schema,
)
from exfm_ray.data.source import DaySource
from exfm_ray.errors import DataError, UserError
from exfm_ray.schema import Schema


class Spread(Protocol):
    """Maps a picklable function over arguments, in order, in any processes; `map` does it in this one."""

    def __call__(
        self, function: Callable[[int], CommittedFile], arguments: Sequence[int], /
    ) -> Iterable[CommittedFile]: ...


@dataclass(frozen=True)
class DayWriter:
    """Writes single parts of one day, in whatever process it is called."""

    source: DaySource
    dataset: Location
    day: int

    def __call__(self, part: int) -> CommittedFile:
        directory = self.dataset.day(self.day)
        return write_partition_part(directory, part, self.source.part(self.day, part), self.source.schema())


def ignore_day(day: int) -> None:
    """For callers that need no word of progress."""


def prepare(
    source: DaySource, dataset: Location, *, on_day: Callable[[int], None] = ignore_day, spread: Spread = map
) -> None:
    """Write every day of a source that the data set lacks; a process killed at any time loses its open day at most.

    Args:
        source: where days come from.
        dataset: directory of the day partitions and their schema.json.
        on_day: told each day that was written now, after its commit.
        spread: maps the writing of a day's parts over processes.

    Raises:
        UserError: the data set was prepared with another schema.
        DataError: a committed day was.
    """
    schema = source.schema()
    _claim(dataset, schema)
    done = committed_days(dataset)
    for day in done:
        _check_day(dataset, day, schema)
    for day in sorted({*range(1, source.days + 1)} - {*done}):
        stopwatch = Stopwatch.start()
        directory = dataset.day(day)
        sweep(directory)
        files = list(spread(DayWriter(source, dataset, day), range(source.parts(day))))
        commit_partition(directory, files, day, schema, stopwatch)
        on_day(day)


def _claim(dataset: Location, schema: Schema) -> None:
    """Write schema.json, or check that it is the one already there."""
    if not (dataset / SCHEMA_FILE).is_file():
        write_schema(dataset, schema)
        return
    found = read_schema(dataset).fingerprint()
    if found != schema.fingerprint():
        raise UserError(
            f"data: {dataset} holds days of another schema ({found} where the recipe's data has "
            f"{schema.fingerprint()}); name another directory, or delete that one"
        )


def _check_day(dataset: Location, day: int, schema: Schema) -> None:
    found = require(dataset.day(day)).about.get("schema")
    if found != schema.fingerprint():
        raise DataError(f"{dataset.day(day)} has schema {found}, not {schema.fingerprint()} of its data set")
