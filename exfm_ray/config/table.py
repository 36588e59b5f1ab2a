"""The data section for a reader's own table, CSV or Parquet: what each of its columns means (data/table/).

A schema file of `exfm prepare csv|parquet --schema` is this section without `type` and `path`.
"""

import difflib
from collections import Counter
from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import ConfigDict, Field, field_validator, model_validator

from exfm_ray.config.section import Name, Section
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, FORBIDDEN_PREFIXES, STAGE

MISSING_LEVEL = "missing"
"""What a level of a domain or a stage is called where the table has none."""

Column = Annotated[str, Field(min_length=1)]
Level = Annotated[str, Field(min_length=1)]
"""As text; a whole number stands without .0"""


class TimeColumn(Section):
    """When an event happened. Days are cut in `zone`, and so are times that state no offset."""

    column: Column
    unit: Literal["s", "ms", "us", "iso"] = Field(
        description="since 1970-01-01 UTC; iso: ISO-8601 text, or timestamps and dates of Parquet"
    )
    zone: str = Field(default="UTC", description="of the IANA database, such as Europe/Berlin")

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, OSError, ValueError) as error:
            nearest = difflib.get_close_matches(zone, available_timezones(), n=1)
            raise ValueError(
                f"is no time zone; did you mean {nearest[0]}?" if nearest else "is no time zone; name one such as UTC"
            ) from error
        return zone


class Days(Section):
    """How time is cut into days."""

    count: int = Field(ge=1, le=9_999)
    cut: Literal["calendar", "equal_rows", "equal_spans"] = Field(
        default="calendar", description="dates of the time zone; or as many rows each; or as much time each"
    )
    first: date | None = Field(default=None, description="calendar only: day 1; rows of no day are dropped")

    @model_validator(mode="after")
    def _check(self) -> "Days":
        if (self.cut == "calendar") != (self.first is not None):
            mend = "give it the date of day 1" if self.first is None else "leave `first` out"
            raise ValueError(f"cut {self.cut!r} and first {self.first}: {mend}")
        return self


class TaskColumns(Section):
    """A label of 0 or 1, and how long a positive took to come, where that is known."""

    label: Column
    delay: Column | None = Field(default=None, description="seconds from the event to the feedback; may be missing")
    feedback_time: Column | None = Field(default=None, description="in the unit of the time column; may be missing")

    @model_validator(mode="after")
    def _one_delay(self) -> "TaskColumns":
        if self.delay is not None and self.feedback_time is not None:
            raise ValueError("delay and feedback_time say the same; give one of them")
        return self


class DomainColumn(Section):
    """Which domain an event is of, by the levels of a column: listed, the largest, or merged."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    column: Column
    levels: tuple[Level, ...] | None = Field(
        default=None, min_length=1, description=f"a domain each, {MISSING_LEVEL!r} too; rows of others are dropped"
    )
    largest: int | None = Field(default=None, ge=1, le=1_000, description="so many a domain each, others one more")
    merge_into: int | None = Field(default=None, ge=2, le=1_000, description="domains of nearly equal size")
    counted_through_day: int | None = Field(
        default=None, ge=1, description="sizes are those of days 1 to this one: no split may know days to come"
    )

    @model_validator(mode="after")
    def _one_way(self) -> "DomainColumn":
        ways = [name for name in ("levels", "largest", "merge_into") if getattr(self, name) is not None]
        if len(ways) != 1:
            raise ValueError(f"says {' and '.join(ways) or 'nothing'}; give one of levels, largest and merge_into")
        if (self.levels is None) != (self.counted_through_day is not None):
            mend = "leave it out" if self.levels is not None else "give it, such as the last day before VMs are tested"
            raise ValueError(f"counted_through_day {self.counted_through_day} with {ways[0]}: {mend}")
        if self.levels is not None and len(set(self.levels)) != len(self.levels):
            raise ValueError("levels must differ from each other")
        return self


class StageColumn(Section):
    """Which stage of the funnel an event is of."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    column: Column
    levels: tuple[Level, ...] = Field(min_length=1, max_length=1_000, description="rows of others are dropped")

    @field_validator("levels")
    @classmethod
    def _distinct(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(levels)) != len(levels):
            raise ValueError("levels must differ from each other")
        return levels


class CategoricalColumn(Section):
    """An id. Whole numbers stay themselves, any other text becomes 64 bits of its hash."""

    column: Column | None = Field(default=None, description="left out: named as the feature")
    rows: int = Field(ge=1, le=2**40, description="of its embedding table")
    encoding: Literal["hash", "identity"] = Field(default="hash", description="identity: values are 0 to rows - 1")
    missing: int | None = Field(
        default=None, ge=-(2**63), lt=2**63, description="id of a missing value; left out: -1, identity: rows - 1"
    )
    fm_only: bool = False

    @property
    def missing_id(self) -> int:
        if self.missing is not None:
            return self.missing
        return -1 if self.encoding == "hash" else self.rows - 1

    @model_validator(mode="after")
    def _fits(self) -> "CategoricalColumn":
        if self.encoding == "identity" and not 0 <= self.missing_id < self.rows:
            raise ValueError(f"missing {self.missing} is no row of the table; give 0 to {self.rows - 1}")
        return self


class NumericColumn(Section):
    """A number."""

    column: Column | None = Field(default=None, description="left out: named as the feature")
    missing: float = Field(default=0.0, description="stands for a missing value, before the transform")
    transform: Literal["none", "log1p"] = Field(default="none", description="log1p: sign(x) * log(1 + |x|)")
    fm_only: bool = False


class SequenceColumn(Section):
    """Ids from before the event, oldest first: a list column of Parquet, or text with a separator."""

    column: Column | None = Field(default=None, description="left out: named as the feature")
    shares: str = Field(description="the categorical feature whose table it reads")
    owner: str | None = Field(
        default=None,
        description="the categorical feature that says whose it is; rows of one store once what they share",
    )
    separator: str | None = Field(default=None, min_length=1, description="in text, such as ^")
    length: int = Field(default=50, ge=1, le=10_000, description="the last so many are kept")
    fm_only: bool = False


class TableData(Section):
    """One row is one event; every feature must have been known before it."""

    path: str = Field(min_length=1, description="a file, a directory of files, or of what `exfm prepare` wrote")
    time: TimeColumn | None = Field(
        default=None, description="left out: rows come in the order of time, and each day's are spread over it evenly"
    )
    days: Days
    tasks: dict[Name, TaskColumns] = Field(min_length=1)
    domain: DomainColumn | None = Field(default=None, description="left out: all are of one")
    stage: StageColumn | None = Field(default=None, description="left out: all are of the stage `later`")
    categorical: dict[str, CategoricalColumn] = Field(default={}, description="by the name of the feature")
    numeric: dict[str, NumericColumn] = Field(default={}, description="by the name of the feature")
    sequences: dict[str, SequenceColumn] = Field(default={}, description="by the name of the feature")
    event_id: Column | None = Field(default=None, description="left out: the row's number in time order, from 0")
    nulls: tuple[str, ...] = Field(
        default=("", "NULL", "null", "\\N", "NaN", "nan", "None"), description="texts that mean a missing value"
    )

    @property
    def answer_columns(self) -> tuple[str, ...]:
        """Columns that only later times know."""
        answers = (column for task in self.tasks.values() for column in (task.label, task.delay, task.feedback_time))
        return tuple(column for column in answers if column is not None)

    def feature_columns(self) -> dict[str, str]:
        """The table's column of each feature."""
        kinds = (self.categorical, self.numeric, self.sequences)
        return {name: feature.column or name for kind in kinds for name, feature in kind.items()}

    @model_validator(mode="after")
    def _has_times(self) -> "TableData":
        if self.time is None:
            if self.days.cut != "equal_rows":
                raise ValueError(f"there is no time to cut {self.days.cut} days by; say cut: equal_rows, or give time")
            if any(task.feedback_time for task in self.tasks.values()):
                raise ValueError("a feedback_time needs the event's; give time, or give the delay")
        return self

    @model_validator(mode="after")
    def _check(self) -> "TableData":
        names = Counter([*self.categorical, *self.numeric, *self.sequences])
        if not names:
            raise ValueError("there is no feature; name columns under categorical, numeric or sequences")
        for name, count in names.items():
            if count > 1:
                raise ValueError(f"{name!r} is more than one of categorical, numeric and sequences; rename one")
            if name in (EVENT_ID, EVENT_TIME, DOMAIN, STAGE) or name.startswith(FORBIDDEN_PREFIXES):
                raise ValueError(
                    f"{name!r} is the name of another column of a day; rename the feature, and name its `column`"
                )
        for name, sequence in self.sequences.items():
            if sequence.shares not in self.categorical:
                raise ValueError(f"sequence {name!r} shares {sequence.shares!r}, which is not under categorical")
            if sequence.owner is not None and sequence.owner not in self.categorical:
                raise ValueError(f"sequence {name!r} has the owner {sequence.owner!r}, which is not under categorical")
        for name, column in self.feature_columns().items():
            if column in self.answer_columns:
                raise ValueError(f"feature {name!r} reads {column!r}, an answer of a task; leave it out, for it leaks")
        if self.domain is not None and (self.domain.counted_through_day or 0) > self.days.count:
            raise ValueError(f"domain.counted_through_day is beyond the {self.days.count} days; lower it")
        return self


class CsvData(TableData):
    """Text with a header line, also as .gz."""

    type: Literal["csv"] = "csv"
    delimiter: str = Field(default=",", min_length=1, max_length=1)


class ParquetData(TableData):
    """Files or a directory of .parquet."""

    type: Literal["parquet"] = "parquet"

    @property
    def delimiter(self) -> None:
        """There is none between columns."""
