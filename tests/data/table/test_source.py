import gzip
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from exfm_ray.config import CsvData, DriftData, ParquetData
from exfm_ray.data.commit import committed
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.drift.source import DriftSource
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema, committed_days, read_rows, read_schema
from exfm_ray.data.prepare import prepare
from exfm_ray.data.source import piece_directory
from exfm_ray.data.table.ids import MOST_BUCKETS, bucket_count
from exfm_ray.data.table.source import Bounds, TableSource
from exfm_ray.errors import UserError
from exfm_ray.prepare_log import prepare_log

STREAM = DriftSource(
    DriftData(days=3, events_per_day=1_500, users=300, ads=60, tasks=("click", "conversion"), base_logit=-1.5)
)
OTHER_NAMES = {"event_time": "ts", "user_id": "member", "label_click": "clicked", "delay_conversion": "bought_after"}
DEFAULT = Bounds()
TINY = Bounds(piece_bytes=4_000, run_bytes=20_000, slice_bytes=40_000)


def stream_section(**changes: Any) -> dict[str, Any]:
    """The stream as its table's owner would describe it."""
    schema = STREAM.schema()
    section: dict[str, Any] = {
        "time": {"column": "ts", "unit": "ms"},
        "days": {"count": 3, "first": "1970-01-01"},
        "tasks": {
            "click": {"label": "clicked", "delay": "delay_click"},
            "conversion": {"label": "label_conversion", "delay": "bought_after"},
        },
        "domain": {"column": "domain", "levels": [0, 1, 2]},
        "stage": {"column": "stage", "levels": [0, 1, 2]},
        "event_id": "event_id",
        "categorical": {
            feature.name: {
                "column": OTHER_NAMES.get(feature.name),
                "rows": feature.rows,
                "encoding": feature.encoding,
                "fm_only": feature.fm_only,
            }
            for feature in schema.of_kind("categorical")
        },
        "numeric": {feature.name: {"fm_only": feature.fm_only} for feature in schema.of_kind("numeric")},
    }
    return section | changes


def shuffled(rows: pa.Table, seed: int = 5) -> pa.Table:
    return rows.take(pa.array(np.random.default_rng(seed).permutation(rows.num_rows)))


@pytest.fixture(scope="module")
def stream_rows() -> pa.Table:
    """All rows of the stream in no order, under other names."""
    rows = pa.concat_tables(STREAM.part(day, part) for day in (1, 2, 3) for part in range(STREAM.parts(day)))
    return shuffled(rows).rename_columns([OTHER_NAMES.get(name, name) for name in rows.column_names])


def days_in(place: Location) -> list[pa.Table]:
    names = arrow_schema(read_schema(place)).names
    return [pa.concat_tables(read_rows(place.day(day), names)).combine_chunks() for day in committed_days(place)]


def prepared(config: CsvData | ParquetData, out: Path, bounds: Bounds = DEFAULT) -> list[pa.Table]:
    prepare(TableSource.opened(config, bounds), Location.of(str(out)))
    return days_in(Location.of(str(out)))


def in_order(table: pa.Table) -> pa.Table:
    return table.sort_by([("event_time", "ascending"), ("event_id", "ascending")])


def write_parquet(rows: pa.Table, directory: Path) -> Path:
    directory.mkdir()
    pq.write_table(rows.slice(0, 2_000), directory / "a.parquet", row_group_size=400)
    pq.write_table(rows.slice(2_000), directory / "b.parquet", row_group_size=400)
    return directory


def write_csv(rows: pa.Table, directory: Path) -> Path:
    directory.mkdir()
    csv.write_csv(rows.slice(0, 2_000), directory / "a.csv")
    with gzip.open(directory / "b.csv.gz", "wb") as file:
        csv.write_csv(rows.slice(2_000), file)
    return directory


@pytest.mark.parametrize("bounds", [DEFAULT, Bounds(100_000, 100_000, 150_000)])
@pytest.mark.parametrize(("kind", "write"), [(ParquetData, write_parquet), (CsvData, write_csv)])
def test_the_stream_written_out_as_one_table_comes_back_as_its_days(
    stream_rows: pa.Table, tmp_path: Path, kind: Any, write: Callable[[pa.Table, Path], Path], bounds: Bounds
) -> None:
    config = kind(path=str(write(stream_rows, tmp_path / "raw")), **stream_section())
    days = prepared(config, tmp_path / "days", bounds)
    assert len(days) == 3
    for day, found in enumerate(days, start=1):
        expected = pa.concat_tables(STREAM.part(day, part) for part in range(STREAM.parts(day)))
        assert in_order(found).equals(in_order(expected.select(found.column_names)).combine_chunks())
        assert found["event_time"].to_pylist() == sorted(found["event_time"].to_pylist())
    if bounds != DEFAULT:
        assert len(committed(Location.of(str(tmp_path / "days")).day(1)).files) > 1  # type: ignore[union-attr]


SMALL = {
    "time": {"column": "ts", "unit": "s"},
    "days": {"count": 2, "first": "2024-05-01"},
    "tasks": {"click": {"label": "clk", "delay": "late"}},
    "categorical": {"ad": {"rows": 100}, "hour": {"rows": 24, "encoding": "identity"}},
    "numeric": {"price": {}},
    "sequences": {"seen": {"shares": "ad", "separator": "^", "length": 3}},
}
MAY = 1_714_521_600
"""The beginning of 1 May 2024 in UTC, in seconds."""
HEADER = "ts,clk,late,ad,hour,price,seen"


def small(table: Path, **changes: Any) -> CsvData:
    return CsvData.model_validate({"path": str(table), **SMALL, **changes})


def written(path: Path, lines: Sequence[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


GOOD = [
    f"{MAY + 90_000},1,30,7,3,1.5,1^2^3^4",
    f"{MAY + 5},0,,8,4,2.5,",
    f"{MAY + 5},1,,9,5,,7^^NULL^9",
    f"{MAY + 3},0,,shoe,,1e3,12^shoe",
]


def test_values_are_read_as_documented(tmp_path: Path) -> None:
    first, second = prepared(small(written(tmp_path / "t.csv", GOOD)), tmp_path / "days")
    shoe = first["ad"][0].as_py()
    assert abs(shoe) > 2**40
    assert first.to_pydict() == {
        "event_id": [0, 1, 2],
        "event_time": [1_000 * MAY + 3_000, 1_000 * MAY + 5_000, 1_000 * MAY + 5_000],
        "domain": [0, 0, 0],
        "stage": [0, 0, 0],
        "ad": [shoe, 8, 9],
        "hour": [23, 4, 5],
        "price": [1_000.0, 2.5, 0.0],
        "seen": [[12, shoe], [], [7, 9]],
        "label_click": [0, 0, 1],
        "delay_click": [None, None, None],
    }
    assert second["event_id"].to_pylist() == [3]
    assert second["seen"].to_pylist() == [[2, 3, 4]]
    assert second["delay_click"].to_pylist() == [30]


def test_missing_values_and_transforms_are_chosen_by_the_schema(tmp_path: Path) -> None:
    lines = [f"{MAY},0,,,5,-9,?", f"{MAY + 86_400},1,?,3,4,,1"]
    changes = {
        "nulls": ["", "?"],
        "categorical": {"ad": {"rows": 9, "encoding": "identity", "missing": 0}},
        "numeric": {"price": {"missing": 99, "transform": "log1p"}, "hour": {}},
    }
    first, second = prepared(small(written(tmp_path / "t.csv", lines), **changes), tmp_path / "days")
    assert (first["ad"].to_pylist(), second["ad"].to_pylist()) == ([0], [3])
    assert np.allclose([first["price"][0].as_py(), second["price"][0].as_py()], [-np.log(10), np.log(100)])
    assert first["hour"].to_pylist() == [5.0]
    assert first["seen"].to_pylist() == [[]]


def test_blank_lines_marks_and_line_ends_of_other_systems_are_no_rows(tmp_path: Path) -> None:
    text = "\ufeff" + "\r\n".join([HEADER.replace("seen", "seen "), "", *GOOD[:2], "", *GOOD[2:]])
    (tmp_path / "t.csv").write_bytes(text.encode())
    plain = prepared(small(written(tmp_path / "u.csv", GOOD)), tmp_path / "plain")
    assert prepared(small(tmp_path / "t.csv"), tmp_path / "days") == plain


def test_lists_and_timestamps_of_parquet(tmp_path: Path) -> None:
    rows = {
        "ts": pa.array([MAY + 90_000, MAY + 5], pa.timestamp("s", "UTC")),
        "clk": pa.array([True, False]),
        "bot": pa.array([None, True]),
        "late": pa.array([30.9, None]),
        "ad": pa.array([7.0, None]),
        "hour": pa.array(["3", "4"]).dictionary_encode(),
        "price": pa.array([None, 2], pa.decimal128(9, 2)),
        "seen": pa.array([[1, None, 2, 3, 4], None], pa.list_(pa.int32())),
    }
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    section = SMALL | {"time": {"column": "ts", "unit": "iso"}, "sequences": {"seen": {"shares": "ad", "length": 3}}}
    section["categorical"] = {"ad": {"rows": 9}, "bot": {"rows": 3, "encoding": "identity"}}
    first, second = prepared(ParquetData(path=str(tmp_path), **section), tmp_path / "days")
    assert (first["ad"].to_pylist(), second["ad"].to_pylist()) == ([-1], [7])
    assert (first["bot"].to_pylist(), second["bot"].to_pylist()) == ([1], [2])
    assert (first["seen"].to_pylist(), second["seen"].to_pylist()) == ([[]], [[2, 3, 4]])
    assert (first["price"].to_pylist(), second["price"].to_pylist()) == ([2.0], [0.0])
    assert second["delay_click"].to_pylist() == [30]


def test_what_an_owners_rows_share_is_stored_once(tmp_path: Path) -> None:
    """Twenty owners in turn, each with one more id at every row; the last three are kept."""
    seen = ["^".join(str(100 * (n % 20) + i) for i in range(n // 20)) for n in range(200)]
    lines = [f"{MAY + n},0,,{n % 20},3,1,{ids}" for n, ids in enumerate(seen)] + [f"{MAY + 90_000},0,,1,3,1,"]
    table = written(tmp_path / "t.csv", lines)
    apart, together = (
        small(table, sequences={"seen": SMALL["sequences"]["seen"] | changes}) for changes in ({}, {"owner": "ad"})
    )
    assert prepared(together, tmp_path / "together") == prepared(apart, tmp_path / "apart")
    stored = [sum(row["rows"] for row in beside(tmp_path / name / "day=001")) for name in ("apart", "together")]
    assert stored == [20 * (0 + 1 + 2 + 3 * 7), 20 * 9]


def beside(day: Path) -> list[dict[str, Any]]:
    """The files of histories that a day's manifest names."""
    return [file["beside"] for file in json.loads((day / "manifest.json").read_text())["files"]]


def random_lines(count: int = 400, days: int = 2) -> list[str]:
    rng = np.random.default_rng(3)
    lines = []
    for _ in range(count):
        moment = MAY + int(rng.integers(days * 24)) * 3_600  # coarse, so that many tie
        label, ad = int(rng.integers(2)), int(rng.integers(60))
        late = int(rng.integers(200_000)) if label else ""
        lines.append(f"{moment},{label},{late},{ad},{int(rng.integers(24))},{rng.random():.3f},{ad}^{ad + 1}")
    return lines


def test_no_day_depends_on_how_the_files_are_cut(tmp_path: Path) -> None:
    lines = random_lines()
    whole = prepared(small(written(tmp_path / "t.csv", lines)), tmp_path / "whole")
    source = TableSource.opened(small(tmp_path / "t.csv"), TINY)
    assert len(source.pieces) > 2
    assert prepared(source.config, tmp_path / "cut", TINY) == whole
    (tmp_path / "parts").mkdir()
    for number, start in enumerate(range(0, 400, 130)):
        written(tmp_path / "parts" / f"part-{number}.csv", lines[start : start + 130])
    assert prepared(small(tmp_path / "parts"), tmp_path / "of_parts", TINY) == whole
    expected = [line.split(",")[3] for line in sorted(lines, key=lambda line: int(line.split(",")[0]))]
    assert [ad for day in whole for ad in day["ad"].to_pylist()] == [int(ad) for ad in expected]


def test_one_millisecond_with_more_rows_than_a_slice_is_cut_by_runs(tmp_path: Path) -> None:
    lines = [line.replace(line.split(",")[0], str(MAY + 7)) for line in random_lines(600, days=1)]
    config = small(written(tmp_path / "t.csv", lines), days={"count": 1, "first": "2024-05-01"})
    (day,) = prepared(config, tmp_path / "days", Bounds(4_000, 4_000, 8_000))
    assert day["ad"].to_pylist() == [int(line.split(",")[3]) for line in lines]
    assert day["event_id"].to_pylist() == list(range(600))
    assert len(committed(Location.of(str(tmp_path / "days")).day(1)).files) > 2  # type: ignore[union-attr]


@pytest.mark.parametrize("cut", ["equal_rows", "equal_spans"])
def test_days_of_equal_rows_or_spans(tmp_path: Path, cut: str) -> None:
    lines = [f"{MAY + step * step},0,,1,1,1,1" for step in range(100)]
    config = small(written(tmp_path / "t.csv", lines), days={"count": 4, "cut": cut})
    days = prepared(config, tmp_path / "days", TINY)
    rows = [day.num_rows for day in days]
    assert rows == [25, 25, 25, 25] if cut == "equal_rows" else rows == [50, 21, 15, 14]
    assert [ms for day in days for ms in day["event_time"].to_pylist()] == [1_000 * (MAY + s * s) for s in range(100)]


def test_rows_of_one_time_are_in_one_day(tmp_path: Path) -> None:
    lines = [f"{MAY + moment},0,,1,1,1,1" for moment in [0] * 10 + [1] * 3 + [2] * 11]
    config = small(written(tmp_path / "t.csv", lines), days={"count": 2, "cut": "equal_rows"})
    assert [day.num_rows for day in prepared(config, tmp_path / "days")] == [13, 11]


def test_without_times_the_order_of_the_files_is_kept_and_days_are_spread_evenly(tmp_path: Path) -> None:
    lines = [f"0,0,,{row},1,1,1" for row in range(1_000)]
    config = small(written(tmp_path / "t.csv", lines), time=None, days={"count": 3, "cut": "equal_rows"})
    days = prepared(config, tmp_path / "days", TINY)
    assert [ad for day in days for ad in day["ad"].to_pylist()] == list(range(1_000))
    assert [day.num_rows for day in days] == [333, 333, 334]
    for number, day in enumerate(days):
        moments = np.array(day["event_time"]) - number * 86_400_000
        assert moments[0] == 0
        assert np.ptp(np.diff(moments)) <= 1
        assert moments[-1] < 86_400_000


def test_calendar_days_follow_the_clock_where_it_is_changed(tmp_path: Path) -> None:
    # Berlin, 31 March 2024: the day has 23 hours, from 30 March 23:00 to 31 March 22:00 UTC
    moments = {"2024-03-30T22:59:59Z": 1, "2024-03-30T23:00:00Z": 2, "2024-03-31 23:59:59.5": 2, "2024-04-01": 3}
    lines = [f"{text},0,,1,1,1,1" for text in moments]
    changes: dict[str, Any] = {"time": {"column": "ts", "unit": "iso", "zone": "Europe/Berlin"}}
    changes["days"] = {"count": 3, "first": "2024-03-30"}
    days = prepared(small(written(tmp_path / "t.csv", lines), **changes), tmp_path / "days")
    assert [day.num_rows for day in days] == [1, 2, 1]
    assert days[2]["event_time"].to_pylist() == [1_711_922_400_000]
    assert days[1]["event_time"].to_pylist() == [1_711_839_600_000, 1_711_922_399_500]


def with_levels(levels: Sequence[str], path: Path) -> Path:
    lines = [f"{MAY + place},0,,1,1,1,1,{level}" for place, level in enumerate(levels)]
    return written(path, lines, f"{HEADER},tab")


def test_domains_and_stages_of_listed_levels(tmp_path: Path) -> None:
    path = with_levels(["b", "a", "", "c", "b", "7.0"], tmp_path / "t.csv")
    days: Any = {"count": 1, "cut": "equal_spans"}
    config = small(path, days=days, domain={"column": "tab", "levels": ["a", "b", "missing", 7]})
    (day,) = prepared(config, tmp_path / "domains")
    assert day["domain"].to_pylist() == [1, 0, 2, 1, 3]
    assert day["event_id"].to_pylist() == list(range(5))
    config = small(path, days=days, stage={"column": "tab", "levels": ["early", "b"]})
    (day,) = prepared(config, tmp_path / "stages")
    assert day["stage"].to_pylist() == [1, 1]
    assert read_schema(Location.of(str(tmp_path / "stages"))).stages == ("early", "b")


@pytest.mark.parametrize(
    ("domain", "names", "expected"),
    [
        ({"largest": 2}, ("tab no. 1", "tab no. 2", "tab, others"), {"a": 0, "b": 1, "c": 2, "d": 2, "new": 2}),
        ({"merge_into": 2}, ("tab group 1", "tab group 2"), {"a": 0, "b": 1, "c": 1, "d": 1, "new": 1}),
    ],
)
def test_domains_by_size_know_training_days_only(
    tmp_path: Path, domain: dict[str, int], names: tuple[str, ...], expected: dict[str, int]
) -> None:
    training, later = list("aaaaaaaaabbbbcccd"), ["d"] * 40 + ["new"] * 20
    lines = [f"{MAY + place},0,,1,1,1,1,{level}" for place, level in enumerate(training)]
    lines += [f"{MAY + 86_400 + place},0,,1,1,1,1,{level}" for place, level in enumerate(later)]
    path = written(tmp_path / "t.csv", lines, f"{HEADER},tab")
    config = small(path, domain={"column": "tab", "counted_through_day": 1, **domain})
    first, second = prepared(config, tmp_path / "days", TINY)
    assert read_schema(Location.of(str(tmp_path / "days"))).domains == names
    assert first["domain"].to_pylist() == [expected[level] for level in training]
    assert second["domain"].to_pylist() == [expected[level] for level in later]


def test_feedback_times_give_delays(tmp_path: Path) -> None:
    lines = [f"{MAY},1,{MAY + 61},1,1,1,1", f"{MAY + 1},0,{MAY},1,1,1,1", f"{MAY + 2},1,,1,1,1,1"]
    tasks = {"click": {"label": "clk", "feedback_time": "late"}}
    config = small(written(tmp_path / "t.csv", lines), tasks=tasks, days={"count": 1, "first": "2024-05-01"})
    (day,) = prepared(config, tmp_path / "days")
    assert day["delay_click"].to_pylist() == [61, None, None]


def test_no_day_knows_the_days_to_come(tmp_path: Path) -> None:
    lines = random_lines(days=3)
    changes: dict[str, Any] = {"days": {"count": 3, "first": "2024-05-01"}}
    changes["domain"] = {"column": "ad", "merge_into": 3, "counted_through_day": 2}
    told = prepared(small(written(tmp_path / "t.csv", lines), **changes), tmp_path / "told", TINY)

    def otherwise(line: str) -> str:
        moment, label, _, ad, hour, _, _ = line.split(",")
        return line if int(moment) < MAY + 2 * 86_400 else f"{moment},{1 - int(label)},,{int(ad) % 7},{hour},9,5"

    other = [otherwise(line) for line in lines]
    untold = prepared(small(written(tmp_path / "u.csv", other), **changes), tmp_path / "untold", TINY)
    assert untold[:2] == told[:2]
    assert untold[2] != told[2]


def test_summary(tmp_path: Path) -> None:
    lines = [
        f"{MAY - 1},1,5,1,1,1,1",
        f"{MAY},1,3601,1,1,,1",
        f"{MAY + 1},1,3600,2,,1,1",
        f"{MAY + 2},1,,2,1,1,1",
        f"{MAY + 3},0,,3,1,1,1",
        f"{MAY + 86_400},1,90000,3,1,1,1",
        f"{MAY + 2 * 86_400},0,,3,1,1,1",
    ]
    place = Location.of(str(tmp_path / "days"))
    assert list(prepare_log(small(written(tmp_path / "t.csv", lines)), place)) == [
        "rows: 5",
        "days: 2",
        "rows_per_day: [4, 1]",
        "rates: {'click': 0.8}",
        "late_positives: {'click': {'beyond_an_hour': 0.6666666666666666, 'beyond_a_day': 0.3333333333333333, "
        "'without_a_known_delay': 1}}",
        "distinct: {'ad': 3, 'hour': 2}",
        "missing_values_filled: {'hour': 1, 'price': 1}",
        "rows_read: 7",
        "rows_before_the_first_day_dropped: 1",
        "rows_after_the_last_day_dropped: 1",
        f"prepared 2 days, 5 rows: {place}",
    ]
    assert {child.name for child in place.children()} == {
        *("source.json", "inputs.json", "schema.json", "summary.json", "day=001", "day=002")
    }


def spoiled(line: int, **values: Any) -> Callable[[Path], None]:
    """Other values in a line of the file, counted from 1."""

    def write(path: Path) -> None:
        lines = path.read_text().splitlines()
        cells = dict(zip(HEADER.split(","), lines[line - 1].split(","), strict=True)) | values
        lines[line - 1] = ",".join(map(str, cells.values()))
        path.write_text("\n".join(lines) + "\n")

    return write


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(change(path.read_bytes())) and None  # type: ignore[return-value]


MISTAKES: list[tuple[str, Callable[[Path], None], tuple[str, ...]]] = [
    ("cut line", rewritten(lambda text: text[:-25]), ("line 401: found", "columns, expected 7", "cut off")),
    ("delimiter", rewritten(lambda text: text.replace(b",", b";")), ("data.delimiter: ','", "semicolons", "';'")),
    ("missing column", rewritten(lambda text: text.replace(b"price", b"prize")), ("no column 'price'", "'prize'")),
    ("column twice", rewritten(lambda text: text.replace(b"price", b"hour")), ("line 1", "column hour twice")),
    ("no UTF-8", rewritten(lambda text: text[:-3] + b"\xff\n"), ("line 401, column 'seen'", "UTF-8", "iconv")),
    ("header no UTF-8", rewritten(lambda text: text.replace(b"seen", b"s\xe9en")), ("line 1", "UTF-8")),
    ("empty", rewritten(lambda text: b""), ("line 1", "header")),
    ("no rows", rewritten(lambda text: text.split(b"\n")[0] + b"\n"), ("data.days", "no rows")),
    ("binary", rewritten(lambda text: gzip.compress(text)), ("line 1", "gzip", ".gz")),
    ("too late", spoiled(17, ts=MAY * 1_000), ("line 17, column 'ts'", str(MAY * 1_000), "seconds", "time.unit")),
    ("too early", spoiled(17, ts=-5), ("line 17, column 'ts'", "'-5'", "since 1970")),
    ("no time", spoiled(17, ts=""), ("line 17, column 'ts'", "''", "seconds since 1970")),
    ("time in words", spoiled(17, ts="noon"), ("line 17, column 'ts'", "'noon'")),
    ("line break", spoiled(8, seen='"1\n2"'), ("line 8: ends inside quotes", "without line breaks")),
    ("label 2", spoiled(300, clk=2), ("line 300, column 'clk'", "'2'", "0 or 1")),
    ("label missing", spoiled(300, clk=""), ("line 300, column 'clk'", "0 or 1", "never missing")),
    ("label yes", spoiled(300, clk="yes"), ("line 300, column 'clk'", "'yes'", "0 or 1")),
    ("early feedback", spoiled(8, clk=1, late=-1), ("line 8, column 'late'", "'-1'", "seconds from 0")),
    ("identity", spoiled(8, hour=24), ("line 8, column 'hour'", "24", "0 to 23", "raise `rows`")),
    ("number", spoiled(8, price="dear"), ("line 8, column 'price'", "'dear'", "a number or nothing")),
    ("infinite", spoiled(8, price="inf"), ("line 8, column 'price'", "'inf'", "a number")),
    ("large number", spoiled(8, price="1e39"), ("line 8, column 'price'", "'1e39'", "3.4e38")),
]


@pytest.mark.parametrize(("spoil", "parts"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_mistake_in_a_csv_is_told_with_its_place(
    tmp_path: Path, spoil: Callable[[Path], None], parts: tuple[str, ...]
) -> None:
    path = written(tmp_path / "t.csv", random_lines())
    spoil(path)
    with pytest.raises(UserError) as error:
        prepared(small(path), tmp_path / "days", Bounds(piece_bytes=4_000))
    one_line(error, str(path) if "data.days" not in parts else "data.days", *parts)
    assert committed_days(Location.of(str(tmp_path / "days"))) == []


def one_line(error: pytest.ExceptionInfo[UserError], *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("t.csv.gz", lambda content: content),
        ("t.csv.gz", lambda content: gzip.compress(content)[:-30]),
        ("t.parquet", lambda content: content),
        ("t.parquet", lambda content: b""),
    ],
    ids=["no gzip", "gzip that ends early", "no Parquet", "empty Parquet"],
)
def test_a_file_that_is_not_what_its_name_says(tmp_path: Path, name: str, spoil: Callable[[bytes], bytes]) -> None:
    content = "\n".join([HEADER, *random_lines()]).encode()
    (tmp_path / name).write_bytes(spoil(content))
    kind: Any = ParquetData if name.endswith("parquet") else CsvData
    with pytest.raises(UserError) as error:
        prepared(kind(path=str(tmp_path / name), **SMALL), tmp_path / "days")
    one_line(error, str(tmp_path / name))


def test_a_parquet_file_that_was_cut_is_told(tmp_path: Path, stream_rows: pa.Table) -> None:
    path = write_parquet(stream_rows, tmp_path / "raw")
    content = bytearray((path / "b.parquet").read_bytes())
    content[20_000:20_400] = bytes(400)
    (path / "b.parquet").write_bytes(content)
    with pytest.raises(UserError) as error:
        prepared(ParquetData(path=str(path), **stream_section()), tmp_path / "days")
    one_line(error, str(path / "b.parquet"), "Parquet", "intact")


def test_mistakes_of_parquet_values_name_the_row(tmp_path: Path, stream_rows: pa.Table) -> None:
    path = write_parquet(stream_rows, tmp_path / "raw")
    labels = stream_rows["clicked"].to_numpy().copy()
    labels[2_000 + 1_234] = 3
    place = stream_rows.column_names.index("clicked")
    pq.write_table(
        stream_rows.set_column(place, "clicked", pa.array(labels)).slice(2_000), path / "b.parquet", row_group_size=400
    )
    with pytest.raises(UserError) as error:
        prepared(ParquetData(path=str(path), **stream_section()), tmp_path / "days")
    one_line(error, f"{path / 'b.parquet'}, row 1235, column 'clicked'", "3", "0 or 1")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"days": {"count": 3, "first": "2024-05-01"}}, ("data.days", "day 3 of 3", "has no rows")),
        ({"days": {"count": 60, "cut": "equal_rows"}}, ("data.days", "of 60", "lower the count")),
        ({"event_id": "ad"}, ("data.event_id", "'ad'", "must differ")),
        ({"sequences": {"seen": {"shares": "ad"}}}, ("column 'seen'", "separator")),
        ({"domain": {"column": "hour", "largest": 99, "counted_through_day": 1}}, ("data.domain", "fewer than 99")),
        ({"time": {"column": "ts", "unit": "iso"}}, ("line 2, column 'ts'", "ISO-8601")),
        ({"path": "/nowhere/at/all"}, ("'/nowhere/at/all' does not exist",)),
    ],
)
def test_a_mistake_in_what_is_said_of_the_table(
    tmp_path: Path, changes: dict[str, Any], parts: tuple[str, ...]
) -> None:
    path = written(tmp_path / "t.csv", random_lines())
    with pytest.raises(UserError) as error:
        prepared(small(path, **changes), tmp_path / "days")
    one_line(error, *parts)


def with_ids(path: Path, ids: Sequence[Any], lines: Sequence[str]) -> CsvData:
    """A table of lines with ids beside them."""
    written(path, [f"{line},{value}" for line, value in zip(lines, ids, strict=False)], f"{HEADER},id")
    return small(path, event_id="id")


@pytest.mark.parametrize("bounds", [DEFAULT, TINY])
@pytest.mark.parametrize(("first", "second"), [(3, 4), (0, 399), (150, 290)])
def test_an_id_that_is_there_twice_is_told_with_both_places(
    tmp_path: Path, bounds: Bounds, first: int, second: int
) -> None:
    ids = [f"event-{row}" for row in range(400)]
    ids[second] = ids[first]
    with pytest.raises(UserError) as error:
        prepared(with_ids(tmp_path / "t.csv", ids, random_lines()), tmp_path / "days", bounds)
    places = [f"in {tmp_path / 't.csv'}, line {row + 2}" for row in (first, second)]
    one_line(error, f"'id' holds 'event-{first}' {places[0]}, and {places[1]}, but must differ in each row")
    assert not (tmp_path / "days" / "day=001").exists()


def test_an_id_is_compared_over_files_and_in_any_spelling(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    first, second = (tmp_path / "raw" / name for name in ("a.csv", "b.csv"))
    with_ids(first, [1, 2, 3], random_lines())
    with_ids(second, [4, "2.0"], random_lines())
    with pytest.raises(UserError) as error:
        prepared(small(tmp_path / "raw", event_id="id"), tmp_path / "days", TINY)
    one_line(error, f"'2' in {first}, line 3, and '2.0', which is the same id, in {second}, line 3, but must differ")


def test_ids_of_rows_of_no_day_do_not_count(tmp_path: Path) -> None:
    lines = random_lines()
    lines[7] = lines[7].replace(lines[7].split(",")[0], str(MAY - 1))
    ids = list(range(400))
    ids[7] = 300
    days = prepared(with_ids(tmp_path / "t.csv", ids, lines), tmp_path / "days", TINY)
    assert sorted(event for day in days for event in day["event_id"].to_pylist()) == [*range(7), *range(8, 400)]
    ids[9] = 300
    with pytest.raises(UserError, match=r"holds '300' in .* line 11, and in .* line 302, but must"):
        prepared(with_ids(tmp_path / "t.csv", ids, lines), tmp_path / "other", TINY)


def test_buckets_of_ids_grow_with_the_files(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    plain.write_bytes(bytes(100))
    packed.write_bytes(bytes(1_000))
    places = [Location.of(str(path)) for path in (plain, packed)]
    assert bucket_count(places[:1], 7, 100) == 7
    assert bucket_count(places, 2, 100) == 80
    assert bucket_count(places, 2, 1) == MOST_BUCKETS


def test_corrected_settings_begin_anew_while_no_day_is_there(tmp_path: Path) -> None:
    path, place = written(tmp_path / "t.csv", GOOD), Location.of(str(tmp_path / "days"))
    with pytest.raises(UserError, match="0 to 4"):
        list(prepare_log(small(path, categorical={"ad": {"rows": 5, "encoding": "identity"}}), place))
    list(prepare_log(small(path), place))
    assert days_in(place) == prepared(small(path), tmp_path / "other")
    with pytest.raises(UserError, match="with other settings"):
        list(prepare_log(small(path, numeric={"price": {"missing": 1}}), place))


def test_days_are_not_put_among_the_files(tmp_path: Path) -> None:
    written(tmp_path / "t.csv", GOOD)
    for out in (tmp_path, tmp_path / "days"):
        with pytest.raises(UserError, match="is among the files"):
            list(prepare_log(small(tmp_path), Location.of(str(out))))
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_recipe_may_name_the_table_or_its_days(tmp_path: Path) -> None:
    config = small(written(tmp_path / "t.csv", GOOD))
    opened = open_dataset(config)
    assert (opened.days, opened.source is not None) == (2, True)
    place = Location.of(str(tmp_path / "days"))
    list(prepare_log(config, place))
    opened = open_dataset(small(tmp_path / "days"))
    assert (opened.days, opened.prepared) == (2, place)
    with pytest.raises(UserError, match=r"data\.numeric"):
        open_dataset(small(tmp_path / "days", numeric={"price": {"missing": 1}}))


def test_travels_to_another_process(tmp_path: Path) -> None:
    source = TableSource.opened(small(written(tmp_path / "t.csv", random_lines())), TINY)
    assert pickle.loads(pickle.dumps(source)) == source


STUCK = """
import sys, time
import exfm_ray.data.table.source as table
from exfm_ray.config import CsvData
from exfm_ray.data.location import Location
from exfm_ray.data.prepare import prepare

write_tally = table.write_tally

def stuck(directory, tally):
    if directory.name == "piece=00002":
        open(sys.argv[3], "w").close()
        time.sleep(600)
    return write_tally(directory, tally)

table.write_tally = stuck
config = CsvData.model_validate_json(sys.argv[1])
prepare(table.TableSource.opened(config, table.Bounds(4_000, 20_000, 40_000)), Location.of(sys.argv[2]))
"""


def test_killed_while_it_scatters_it_goes_on_from_the_pieces_that_are_there(tmp_path: Path) -> None:
    config, out, stuck = small(written(tmp_path / "t.csv", random_lines())), tmp_path / "days", tmp_path / "stuck"
    process = subprocess.Popen([sys.executable, "-c", STUCK, config.model_dump_json(), str(out), str(stuck)])
    try:
        while not stuck.exists():
            assert process.poll() is None, "the process ended before it was stuck"
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    source = TableSource.opened(config, TINY)
    work, (scatter, _) = Location.of(str(out)) / "work", source.stages()
    pieces = [piece_directory(work, scatter.name, piece) for piece in range(scatter.pieces)]
    before = [committed(piece) for piece in pieces]
    assert [piece is not None for piece in before[:3]] == [True, True, False]
    assert prepared(config, out, TINY) == prepared(config, tmp_path / "undisturbed")
    assert [committed(piece) for piece in pieces[:2]] == before[:2]
