"""Where days come from: raw data or the synthetic stream, one time slice at a time."""

from typing import Protocol

import pyarrow as pa

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
