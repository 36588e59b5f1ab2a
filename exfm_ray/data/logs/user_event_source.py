"""What sources share whose stages end in each user's events and in time slices of all events."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pyarrow as pa

from exfm_ray.config import AmazonData, KuaiVideoData
from exfm_ray.data.location import Location
from exfm_ray.data.logs.time_slices import TimeSlice, slices_of_day
from exfm_ray.data.logs.user_events import read_slices
from exfm_ray.data.partitions import arrow_schema
from exfm_ray.data.source import Stage, piece_directory
from exfm_ray.schema import Schema


@dataclass(frozen=True)
class UserEventStages(ABC):
    """Stages whose last two are `users`, the events of each bucket of users, and `slices`."""

    identity: str
    """of the files and settings: pieces of others are never taken for ours"""
    buckets: int

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """In order."""

    def name(self, stage: str) -> str:
        return f"{self.identity}/{stage}"

    def directory(self, work: Location, stage: str, piece: int = 0) -> Location:
        return piece_directory(work, self.name(stage), piece)

    def users(self, work: Location) -> list[Location]:
        """The events of each bucket."""
        return [self.directory(work, "users", bucket) for bucket in range(self.buckets)]


@dataclass(frozen=True)
class UserEventSource(ABC):
    """The part of a `StagedSource` that gathers days from time slices."""

    config: AmazonData | KuaiVideoData
    work: Location | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        # a relative path must mean the same directory in processes that work elsewhere
        absolute = self.config.model_copy(update={"path": str(Location.of(self.config.directory))})
        object.__setattr__(self, "config", absolute)

    @property
    def days(self) -> int:
        return self.config.days

    @abstractmethod
    def schema(self) -> Schema:
        """Of the days."""

    @property
    @abstractmethod
    def user_stages(self) -> UserEventStages:
        """Made once: it looks at the files."""

    def stages(self) -> tuple[Stage, ...]:
        return self.user_stages.stages()

    def over(self, work: Location) -> Self:
        return replace(self, work=work)

    def parts(self, day: int) -> int:
        return len(self.slices(day))

    def rows(self, columns: Mapping[str, Any]) -> pa.Table:
        """Columns by name, each an array or of Arrow, in the order and of the types that a partition has."""
        expected = arrow_schema(self.schema())
        return pa.table([columns[field.name] for field in expected], names=expected.names).cast(expected)

    def slices(self, day: int) -> Sequence[TimeSlice]:
        """Those of a day, in order."""
        return slices_of_day(read_slices(self.user_stages.directory(self.finished, "slices")), day)

    @property
    def finished(self) -> Location:
        """Where the stages have left their pieces."""
        assert self.work is not None, "days are gathered from finished stages"
        return self.work
