"""Times of a reader's own table, as milliseconds since 1970-01-01 UTC, and the days of a calendar."""

from collections.abc import Collection
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exfm_ray.config import TimeColumn
from exfm_ray.data.table.chunks import Cells
from exfm_ray.data.table.values import Booleans, Floats, Integers, is_text, numbers, shown, texts

LAST_MS = 4_102_444_800_000
"""The beginning of 2100: a later time is of another unit than was said."""
MILLISECONDS = {"s": 1_000.0, "ms": 1.0, "us": 1e-3}
TICKS = {"ms": 1, "us": 1_000, "ns": 1_000_000}
"""of a millisecond"""
HAS_OFFSET = r"[T ].*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
ALLOWED = {
    "s": "seconds since 1970 and before 2100",
    "ms": "milliseconds since 1970 and before 2100",
    "us": "microseconds since 1970 and before 2100",
    "iso": "an ISO-8601 time since 1970 and before 2100, such as 2024-03-31T09:30:00+02:00",
}


def times(cells: Cells, time: TimeColumn, nulls: Collection[str]) -> Integers:
    """(N,) milliseconds, what is finer is cut off.

    A time without an offset is of `time.zone`; where a clock is set back it is the earlier of the two it may be, and
    where the clock skips it, it is the moment of the change.

    Raises:
        UserError: a time is missing, cannot be read, or is not from 1970 to 2099.
    """
    read = optional_times(cells, time, nulls)
    _refuse(cells, np.isnan(read), time.unit)
    return read.astype(np.int64)


def optional_times(cells: Cells, time: TimeColumn, nulls: Collection[str]) -> Floats:
    """(N,) whole milliseconds, NaN where missing; otherwise as `times`."""
    kind = cells.values.type
    if time.unit != "iso" and not pa.types.is_temporal(kind):
        read = np.floor(numbers(cells, nulls, ALLOWED[time.unit]) * MILLISECONDS[time.unit])
    elif time.unit == "iso" and (is_text(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        read = _clock_times(cells, time.zone, nulls)
    else:
        found = f"times of type {kind} with time.unit {time.unit}"
        raise cells.mistake(0, found, ALLOWED[time.unit], "choose another time.unit")
    _refuse(cells, (read < 0) | (read >= LAST_MS), time.unit)
    return read


def _refuse(cells: Cells, wrong: Booleans, unit: str) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        mend = "mend that file, or is time.unit another?"
        raise cells.mistake(row, shown(cells.values[row].as_py()), ALLOWED[unit], mend)


def _clock_times(cells: Cells, zone: str, nulls: Collection[str]) -> Floats:
    if not is_text(cells.values.type):
        return _milliseconds(cells.values, zone)
    found = texts(cells, nulls)
    try:
        read = _parsed(found.distinct, zone)
    except pa.ArrowInvalid:
        read = np.array([_parsed_or_negative(found.distinct[i : i + 1], zone) for i in range(len(found.distinct))])
    return np.append(read, np.nan)[found.codes]


def _parsed(distinct: pa.StringArray, zone: str) -> Floats:
    """(D,) milliseconds of texts, each with or without an offset."""
    offset = pc.match_substring_regex(distinct, HAS_OFFSET)
    read = np.empty(len(distinct))
    for has, kind in ((True, pa.timestamp("ns", "UTC")), (False, pa.timestamp("ns"))):
        chosen = pc.equal(offset, has)
        read[chosen.to_numpy(zero_copy_only=False)] = _milliseconds(distinct.filter(chosen).cast(kind), zone)
    return read


def _parsed_or_negative(text: pa.StringArray, zone: str) -> float:
    """-1, which is refused, where a text is no time."""
    try:
        return float(_parsed(text, zone)[0])
    except pa.ArrowInvalid:
        return -1.0


def _milliseconds(values: pa.Array, zone: str) -> Floats:
    """(N,) milliseconds of dates, of moments, or of times of the zone's clock; NaN where missing."""
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    if values.type.tz is None:
        values = pc.assume_timezone(values, zone, ambiguous="earliest", nonexistent="latest")
    whole = values.cast(pa.int64())
    ticks = whole.fill_null(0).to_numpy(zero_copy_only=False)
    read = ticks * 1_000.0 if values.type.unit == "s" else (ticks // TICKS[values.type.unit]).astype(np.float64)
    return np.where(whole.is_null().to_numpy(zero_copy_only=False), np.nan, read)


def calendar_bounds(first: date, count: int, zone: str) -> Integers:
    """(count + 1,) milliseconds at which the dates from `first` on begin, and the last one ends, in a time zone."""
    clock = ZoneInfo(zone)
    dates = (first + timedelta(days=step) for step in range(count + 1))
    starts = (datetime(day.year, day.month, day.day, tzinfo=clock) for day in dates)
    return np.array([int(start.timestamp() * 1_000) for start in starts], dtype=np.int64)
