import csv
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exfm_ray.config import TaobaoData
from exfm_ray.data.dataset import raw_log
from exfm_ray.data.encode import encode
from exfm_ray.data.location import Location
from exfm_ray.data.logs.domains import merge_levels
from exfm_ray.data.partitions import arrow_schema, committed_days, read_rows, read_schema
from exfm_ray.data.prepare import prepare
from exfm_ray.data.source import most_pieces
from exfm_ray.data.taobao.slices import Sizes
from exfm_ray.data.taobao.x1 import TaobaoX1Source
from exfm_ray.errors import UserError
from exfm_ray.prepare_log import FEW_PIECES, prepare_log, processes_for
from exfm_ray.schema import EVENT_ID, EVENT_TIME

HEADER = (
    "clk,btag_his,cate_his,brand_his,userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,"
    "shopping_level,occupation,new_user_class_level,adgroup_id,cate_id,campaign_id,customer,brand,price,pid,btag"
)
HISTORIES = ["btag_his", "cate_his", "brand_his"]
"""In the file's order."""
MIDNIGHT_MS = 1_494_000_000_000
"""The beginning of 6 May 2017 in Shanghai."""
DAY_MS = 86_400_000


def make_rows(count: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    rows = []
    for place in range(count):
        length = draw.choice([0, 1, 3, 9])
        histories = [[draw.randint(1, top) for _ in range(length)] for top in (4, 40, 400)]
        attributes = [draw.choice(choices) for choices in ([0, 96], [1, 12], [1, 2], [0, 6], [0, 3], [1, 3], [0, 1])]
        ids = [draw.randint(1, top) for top in (900, 40, 60, 50)]
        level = draw.choices([0, 1, 2, 3, 4], [3, 1, 2, 2, 1])[0]
        fields = [
            *(draw.randint(0, 1), *("^".join(map(str, values)) for values in histories), place, *attributes, level),
            *(*ids, draw.randint(0, 400), round(draw.random(), 6), draw.randint(0, 1), 1),
        ]
        rows.append(dict(zip(HEADER.split(","), fields, strict=True)))
    return rows


def write(directory: Path, train: list[dict[str, Any]], test: list[dict[str, Any]]) -> Path:
    directory.mkdir(parents=True)
    for name, rows in (("train.csv", train), ("test.csv", test)):
        with (directory / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, HEADER.split(","), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return directory


def events_in(out: Path) -> pd.DataFrame:
    place = Location.of(str(out))
    names = arrow_schema(read_schema(place)).names
    frames = [
        table.to_pandas().assign(day=day) for day in committed_days(place) for table in read_rows(place.day(day), names)
    ]
    return pd.concat(frames, ignore_index=True)


TRAIN, TEST = make_rows(150, 1), make_rows(31, 2)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, dict[str, str]]:
    root = tmp_path_factory.mktemp("x1")
    config = TaobaoData(path=str(write(root / "x1", TRAIN, TEST)))
    lines = list(prepare_log(config, Location.of(str(root / "days"))))
    return events_in(root / "days"), dict(line.split(": ", 1) for line in lines)


def test_days_are_cut_in_the_order_of_the_file_and_the_last_is_the_test(
    prepared: tuple[pd.DataFrame, dict[str, str]],
) -> None:
    events, told = prepared
    sizes = events.groupby("day").size().tolist()
    assert sizes == [21, 21, 22, 21, 22, 21, 22, 31]
    assert told["rows_per_day"] == str(sizes)
    assert events[EVENT_ID].tolist() == list(range(181))
    assert told["warning"].startswith("days 1–7 are not real days: TaobaoAd_x1 has no times")
    for day, rows in events.groupby("day"):
        times = rows[EVENT_TIME] - MIDNIGHT_MS - (day - 1) * DAY_MS
        assert times.min() == 0
        assert times.max() < DAY_MS
        assert times.diff().dropna().between(DAY_MS // len(rows), DAY_MS // len(rows) + 1).all()


def test_columns_are_those_of_the_files(prepared: tuple[pd.DataFrame, dict[str, str]]) -> None:
    events, told = prepared
    rows = [*TRAIN, *TEST]
    for column in HEADER.split(",")[4:]:
        expected = np.array([row[column] for row in rows])
        np.testing.assert_array_equal(events[column], expected.astype(events[column].dtype), err_msg=column)
    for column in HISTORIES:
        expected = [[int(value) for value in row[column].split("^") if value] for row in rows]
        assert [values.tolist() for values in events[column]] == expected
    assert events["label_click"].tolist() == [row["clk"] for row in rows]
    assert float(told["click_rate"]) == pytest.approx(events["label_click"].mean())


def test_domains_are_decided_by_the_first_days(prepared: tuple[pd.DataFrame, dict[str, str]]) -> None:
    events, _ = prepared
    counts = events[events["day"] <= 4].groupby("new_user_class_level").size()
    assert events["domain"].tolist() == events["new_user_class_level"].map(merge_levels(dict(counts), 3)).tolist()


def test_many_pieces_give_the_same_days(
    prepared: tuple[pd.DataFrame, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exfm_ray.data.taobao.x1.GROUP_ROWS", 3)
    source = raw_log(TaobaoData(path=str(write(tmp_path / "x1", TRAIN, TEST))))
    assert isinstance(source, TaobaoX1Source)
    source = replace(source, sizes=Sizes(range_bytes=3_000, slice_rows=8))
    assert source.stages()[0].pieces > 5
    prepare(source, Location.of(str(tmp_path / "days")))
    pd.testing.assert_frame_equal(events_in(tmp_path / "days"), prepared[0])
    assert source.over(Location.of(str(tmp_path / "days" / "work"))).parts(8) == 4


def test_long_histories_keep_their_last_values(tmp_path: Path) -> None:
    config = TaobaoData(path=str(write(tmp_path / "x1", TRAIN, TEST)), history_length=2)
    list(prepare_log(config, Location.of(str(tmp_path / "days"))))
    expected = [[int(value) for value in row["cate_his"].split("^") if value][-2:] for row in [*TRAIN, *TEST]]
    assert [values.tolist() for values in events_in(tmp_path / "days")["cate_his"]] == expected


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("clk", 2, "test.csv, line 33, column clk: found '2', expected 0 or 1"),
        ("pid", -1, "column pid: found '-1', expected 0 or 1"),
        ("btag", 5, "column btag: found '5', expected 0 to 4"),
        ("cate_his", "4^^5", "column cate_his: found '4^^5', expected numbers joined by ^, or nothing"),
        ("btag_his", "1^7", "column btag_his: found '1^7', expected numbers from 0 to 4 joined by ^, or nothing"),
        ("userid", "", "column userid: found nothing, expected a whole number"),
    ],
)
def test_wrong_rows_are_told(tmp_path: Path, column: str, value: Any, told: str) -> None:
    path = write(tmp_path / "x1", TRAIN, [*TEST, TEST[0] | {column: value}])
    with pytest.raises(UserError) as error:
        list(prepare_log(TaobaoData(path=str(path)), Location.of(str(tmp_path / "days"))))
    assert told in str(error.value)
    assert not committed_days(Location.of(str(tmp_path / "days")))


def test_few_pieces_are_read_in_this_process_unless_a_cluster_is_named(tmp_path: Path) -> None:
    config = TaobaoData(path=str(write(tmp_path / "x1", TRAIN, TEST)))
    assert 1 < most_pieces(raw_log(config)) <= FEW_PIECES
    with processes_for(config, None, tmp_path / "logs") as spread:
        assert spread is map
    with pytest.raises(UserError, match="nobody answers"), processes_for(config, "127.0.0.1:1", tmp_path / "logs"):
        pass


@pytest.mark.ray
def test_many_pieces_are_read_by_many_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TaobaoData(path=str(write(tmp_path / "x1", TRAIN, TEST)))
    monkeypatch.setattr("exfm_ray.prepare_log.FEW_PIECES", 1)
    with processes_for(config, None, tmp_path / "logs") as spread:
        assert os.getpid() not in list(spread(process_of, [0, 1]))


def process_of(_: int) -> int:
    return os.getpid()


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x1", TRAIN, [])
    with pytest.raises(UserError, match=r"train\.csv has 150 rows and test\.csv 0, but each of 8 days needs one"):
        list(prepare_log(TaobaoData(path=str(path)), Location.of(str(tmp_path / "days"))))


def test_the_real_rows_are_read(taobao_rows: Path, tmp_path: Path) -> None:
    """500 rows of the published data, cut into a training and a test file here."""
    header, *lines = taobao_rows.read_text().splitlines(keepends=True)
    (tmp_path / "x1").mkdir()
    (tmp_path / "x1" / "train.csv").write_text("".join([header, *lines[:437]]))
    (tmp_path / "x1" / "test.csv").write_text("".join([header, *lines[437:]]))
    out = Location.of(str(tmp_path / "days"))
    config = TaobaoData(path=str(tmp_path / "x1"), table_scale=0.01)
    told = dict(line.split(": ", 1) for line in prepare_log(config, out))
    events, rows = events_in(tmp_path / "days"), pd.read_csv(taobao_rows)
    assert told["rows"] == "500"
    assert told["user_levels_read_as_missing"] == "0"
    for column in HEADER.split(",")[4:]:
        np.testing.assert_allclose(events[column], rows[column], rtol=1e-6, err_msg=column)
    lengths = events["cate_his"].map(len)
    assert lengths.tolist() == rows["cate_his"].str.split("^").map(len).tolist()
    assert lengths.max() == 50
    assert set(events["domain"]) == {0, 1, 2}
    schema = read_schema(out)
    (day,) = read_rows(out.day(8), arrow_schema(schema).names)
    inputs = encode(day, schema)  # refuses a value that does not fit its table
    assert (len(inputs), len(inputs.sequences)) == (63, 3)
