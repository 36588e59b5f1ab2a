import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from exfm_ray.config import CsvData, DriftData, ParquetData
from exfm_ray.data.drift import DriftSource
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema, committed_days, read_rows, read_schema
from exfm_ray.prepare_log import prepare_log

STREAM = DriftSource(
    DriftData(days=3, events_per_day=3_000, users=300, ads=60, tasks=("click", "conversion"), base_logit=-1.5)
)
OTHER_NAMES = {"event_time": "ts", "user_id": "member", "label_click": "clicked", "delay_conversion": "bought_after"}


def own_names(names: list[str]) -> list[str]:
    return [OTHER_NAMES.get(name, name) for name in names]


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


@pytest.fixture(scope="module")
def stream_rows() -> pa.Table:
    """All rows of the stream in no order, under other names."""
    rows = pa.concat_tables(STREAM.part(day, part) for day in (1, 2, 3) for part in range(STREAM.parts(day)))
    mixed = rows.take(pa.array(np.random.default_rng(5).permutation(rows.num_rows)))
    return mixed.rename_columns(own_names(mixed.column_names))


def prepared(config: CsvData | ParquetData, out: Path) -> list[pa.Table]:
    """Days as `exfm prepare` leaves them."""
    place = Location.of(str(out))
    list(prepare_log(config, place))
    names = arrow_schema(read_schema(place)).names
    return [pa.concat_tables(read_rows(place.day(day), names)).combine_chunks() for day in committed_days(place)]


def in_order(table: pa.Table) -> pa.Table:
    return table.sort_by([("event_time", "ascending"), ("event_id", "ascending")])


def write_parquet(rows: pa.Table, directory: Path) -> Path:
    directory.mkdir()
    pq.write_table(rows.slice(0, 4_000), directory / "a.parquet", row_group_size=500)
    pq.write_table(rows.slice(4_000), directory / "b.parquet", row_group_size=500)
    return directory


def write_csv(rows: pa.Table, directory: Path) -> Path:
    directory.mkdir()
    csv.write_csv(rows.slice(0, 4_000), directory / "a.csv")
    with gzip.open(directory / "b.csv.gz", "wb") as file:
        csv.write_csv(rows.slice(4_000), file)
    return directory


@pytest.mark.parametrize(("kind", "write"), [(ParquetData, write_parquet), (CsvData, write_csv)])
def test_the_stream_written_out_as_one_table_comes_back_as_its_days(
    stream_rows: pa.Table, tmp_path: Path, kind: Any, write: Callable[[pa.Table, Path], Path]
) -> None:
    days = prepared(kind(path=str(write(stream_rows, tmp_path / "raw")), **stream_section()), tmp_path / "days")
    assert len(days) == 3
    for day, found in enumerate(days, start=1):
        expected = pa.concat_tables(STREAM.part(day, part) for part in range(STREAM.parts(day)))
        assert in_order(found).equals(in_order(expected.select(found.column_names)).combine_chunks())
        assert found["event_time"].to_pylist() == sorted(found["event_time"].to_pylist())
