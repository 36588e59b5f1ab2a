"""Preparing a data set: from any source of days to committed day partitions, once, and resumable at any point."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from exfm_ray.data.commit import CommittedFile, Stopwatch, committed, require, sweep
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import (
    SCHEMA_FILE,
    commit_partition,
    committed_days,
    read_schema,
    write_partition_part,
    write_schema,
)
from exfm_ray.data.source import DaySource, Stage, StagedSource, piece_directory
from exfm_ray.errors import DataError, UserError
from exfm_ray.schema import Schema

Made = TypeVar("Made")

INPUTS_FILE = "inputs.json"
"""beside the days: the names of the stages that they came from"""
WORK = "work"
"""beside the days while they are prepared: what the stages of a raw log have made"""


class Spread(Protocol):
    """Maps a picklable function over arguments, in order, in any processes; `map` does it in this one."""

    def __call__(self, function: Callable[[int], Made], arguments: Sequence[int], /) -> Iterable[Made]: ...


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
    source: DaySource,
    dataset: Location,
    *,
    on_day: Callable[[int], None] = ignore_day,
    spread: Spread = map,
    work: Location | None = None,
) -> None:
    """Write every day of a source that the data set lacks; a process killed at any time loses its open day at most.

    Args:
        source: where days come from.
        dataset: directory of the day partitions and their schema.json.
        on_day: told each day that was written now, after its commit.
        spread: maps the writing of a day's parts over processes.
        work: for what the stages of a raw log make; left out: beside the days.

    Raises:
        UserError: the data set was prepared with another schema, or from other files.
        DataError: a committed day was.
    """
    schema = source.schema()
    _claim(dataset, schema)
    done = committed_days(dataset)
    for day in done:
        _check_day(dataset, day, schema)
    missing = sorted({*range(1, source.days + 1)} - {*done})
    if missing and isinstance(source, StagedSource):
        _check_inputs(source, dataset, done)
        source = _staged(source, work or dataset / WORK, spread)
    for day in missing:
        stopwatch = Stopwatch.start()
        directory = dataset.day(day)
        sweep(directory)
        files = list(spread(DayWriter(source, dataset, day), range(source.parts(day))))
        commit_partition(directory, files, day, schema, stopwatch)
        on_day(day)


def _check_inputs(source: StagedSource, dataset: Location, done: Sequence[int]) -> None:
    """Stages are named after the files that they read, so other names mean other files than the days there came from.

    Raises:
        UserError: the rest of the days would come from other files.
    """
    place, stages = dataset / INPUTS_FILE, json.dumps([stage.name for stage in source.stages()]).encode()
    if done and place.is_file() and place.read() != stages:
        listed = ", ".join(map(str, done))
        raise UserError(
            f"data: the raw files have changed since days {listed} of {dataset} were made from them; "
            "put them back, or name another directory"
        )
    place.write(stages)


def _staged(source: StagedSource, work: Location, spread: Spread) -> StagedSource:
    """The source over its finished stages; pieces that are there are not made again."""
    for stage in source.stages():
        missing = [p for p in range(stage.pieces) if committed(piece_directory(work, stage.name, p)) is None]
        for _ in spread(partial(_make_piece, stage, work), missing):
            pass
    return source.over(work)


def _make_piece(stage: Stage, work: Location, piece: int) -> None:
    directory = piece_directory(work, stage.name, piece)
    sweep(directory)
    stage.make(work, piece)
    require(directory)


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
