"""Where days come from: raw data or the synthetic stream, one time slice at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from exfm_ray.data.location import Location
from exfm_ray.schema import Schema


class DaySource(Protocol):
    """Makes the day partitions of a data set. Picklable: its parts are made in any process, each on its own."""

    @property
    def days(self) -> int:
        """Number of days, counted from 1."""
        ...

    def schema(self) -> Schema: ...

    def parts(self, day: int) -> int:
        """Number of time slices of a day; slice k ends before slice k + 1 begins."""
        ...

    def part(self, day: int, part: int) -> pa.Table:
        """One time slice, rows in event-time order, columns as `partitions.arrow_schema(self.schema())`."""
        ...


@runtime_checkable
class LogSource(DaySource, Protocol):
    """Days from raw logs, which have something to tell about what was read and dropped."""

    def summary(self) -> dict[str, Any]:
        """What was read, for the user: counts, rates, and what was dropped and why. Asked after the last day."""
        ...


@dataclass(frozen=True)
class Stage:
    """A step over all of a raw log before its days can be made, cut into pieces that are made each on its own.

    A piece commits the directory `piece_directory(work, name, piece)`, so that a killed preparation goes on from the
    pieces that are there. Pieces of one stage know nothing of each other; a stage begins when the one before is done.
    """

    name: str
    pieces: int
    make: Callable[[Location, int], None]
    """(work, piece) → commits the piece; picklable, and bounded in memory whatever the size of the log"""

    @property
    def word(self) -> str:
        """What a user calls it: its name without what tells files and settings from others."""
        return self.name.partition("-")[0]


@runtime_checkable
class StagedSource(LogSource, Protocol):
    """Days from a raw log too large or too little ordered to cut days out of it at once."""

    def stages(self) -> tuple[Stage, ...]:
        """In order."""
        ...

    def over(self, work: Location) -> "StagedSource":
        """The same source, whose `part` and `summary` read what the stages left in `work`."""
        ...


def most_pieces(source: DaySource) -> int:
    """Pieces of the stage that has the most; 0 without stages."""
    return max((stage.pieces for stage in source.stages()), default=0) if isinstance(source, StagedSource) else 0


def piece_directory(work: Location, stage: str, piece: int) -> Location:
    """Where a piece of a stage is committed."""
    return work / stage / f"piece={piece:05d}"
