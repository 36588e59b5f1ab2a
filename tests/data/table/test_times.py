from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exfm_ray.config import TimeColumn
from exfm_ray.data.location import Location
from exfm_ray.data.table.chunks import Cells
from exfm_ray.data.table.times import calendar_bounds, times
from exfm_ray.errors import UserError

NULLS = ("", "NULL")


def read(values: pa.Array, unit: Any, zone: str = "UTC") -> list[int]:
    cells = Cells("ts", values, Location.of("t.csv"), lambda row: f"line {row + 2}")
    return times(cells, TimeColumn(column="ts", unit=unit, zone=zone), NULLS).tolist()


@settings(max_examples=60, deadline=None)
@given(
    moment=st.datetimes(datetime(1970, 1, 2), datetime(2099, 12, 30)),
    offset=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    form=st.sampled_from(["milliseconds", "microseconds", "seconds"]),
    separator=st.sampled_from("T "),
)
def test_iso_times_with_an_offset_are_those_moments(
    moment: datetime, offset: timezone, form: str, separator: str
) -> None:
    text = moment.replace(tzinfo=offset).isoformat(separator, form)
    expected = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    assert read(pa.array([text.encode()]), "iso", "America/New_York") == [expected // timedelta(milliseconds=1)]


@settings(max_examples=60, deadline=None)
@given(milliseconds=st.lists(st.integers(0, 4_102_444_799_999), min_size=1, max_size=5))
def test_numbers_are_exact_in_every_unit_and_type(milliseconds: list[int]) -> None:
    for unit, scale in (("ms", 1), ("us", 1_000)):
        exact = [scale * value for value in milliseconds]
        assert read(pa.array(exact), unit) == milliseconds
        assert read(pa.array([str(value) for value in exact]), unit) == milliseconds
        assert read(pa.array(exact, pa.timestamp(unit)), "iso") == milliseconds
    nanoseconds = pa.array([1_000_000 * value + 999_999 for value in milliseconds], pa.timestamp("ns", "Asia/Tokyo"))
    assert read(nanoseconds, "iso") == milliseconds
    assert read(pa.array([f"{value / 1_000:.3f}" for value in milliseconds]), "s") == pytest.approx(milliseconds, abs=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-07-01T12:00", "2024-07-01T10:00:00"),
        ("2024-01-01 12:00:00.25", "2024-01-01T11:00:00.250"),
        ("2024-07-01", "2024-06-30T22:00:00"),
        ("2024-10-27T02:30:00", "2024-10-27T00:30:00"),  # happens twice: the earlier
        ("2024-03-31T02:30:00", "2024-03-31T01:00:00"),  # is skipped: the moment of the change
        ("2024-10-27T02:30:00+01:00", "2024-10-27T01:30:00"),
        ("2024-10-27T02:30:00Z", "2024-10-27T02:30:00"),
    ],
)
def test_times_without_an_offset_are_of_the_zone(text: str, expected: str) -> None:
    milliseconds = int(np.datetime64(expected, "ms").astype(int))
    assert read(pa.array([text]), "iso", "Europe/Berlin") == [milliseconds]
    assert read(pa.array(["1999-01-01T00:00:00Z", text]), "iso", "Europe/Berlin")[1] == milliseconds


def test_dates_of_parquet_begin_in_the_zone() -> None:
    assert read(pa.array([date(2024, 7, 1)]), "iso", "Europe/Berlin") == [1_719_784_800_000]


@pytest.mark.parametrize(
    ("values", "unit", "parts"),
    [
        (["2024-07-01T12:00", "2024-07-32"], "iso", ("line 3", "'2024-07-32'", "ISO-8601")),
        (["2024-07-01T12:00", "NULL"], "iso", ("line 3", "'NULL'", "ISO-8601")),
        (["1969-12-31T23:59:59Z"], "iso", ("line 2", "since 1970")),
        (["2100-01-01"], "iso", ("line 2", "before 2100")),
        ([1_714_521_600], "iso", ("time.unit iso", "choose another time.unit")),
        ([1, 4_102_444_800_000], "ms", ("line 3", "4102444800000", "milliseconds", "time.unit")),
        ([2.5, None], "s", ("line 3", "nothing", "seconds")),
        ([date(2024, 7, 1)], "s", ("time.unit s", "choose another time.unit")),
    ],
)
def test_what_is_no_time_is_told(values: list[Any], unit: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        read(pa.array(values), unit)
    for part in ("t.csv", "column 'ts'", *parts):
        assert part in str(error.value)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Sao_Paulo", "Asia/Shanghai", "Australia/Lord_Howe"])
def test_calendar_days_begin_at_midnight_of_the_zone(zone: str) -> None:
    bounds = calendar_bounds(date(2018, 10, 1), 60, zone)  # Sao Paulo skipped the midnight of 4 November 2018
    for place, moment in enumerate(bounds.tolist()):
        local = datetime.fromtimestamp(moment / 1_000, ZoneInfo(zone))
        before = datetime.fromtimestamp(moment / 1_000 - 1, ZoneInfo(zone))
        assert (local.date() - date(2018, 10, 1)).days == place
        assert before.date() < local.date()
