import gzip
import random
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from exfm_ray.config import TaobaoData
from exfm_ray.data.commit import committed
from exfm_ray.data.dataset import open_dataset, raw_log
from exfm_ray.data.location import Location
from exfm_ray.data.logs.domains import merge_levels
from exfm_ray.data.partitions import arrow_schema, committed_days, read_rows, read_schema
from exfm_ray.data.prepare import prepare
from exfm_ray.data.taobao.slices import Sizes
from exfm_ray.data.taobao.source import TaobaoSource
from exfm_ray.errors import UserError
from exfm_ray.prepare_log import prepare_log
from exfm_ray.schema import EVENT_ID, EVENT_TIME

SHANGHAI = ZoneInfo("Asia/Shanghai")
FIRST = date(2017, 5, 6)
TAGS = {"pv": 1, "cart": 2, "fav": 3, "buy": 4}
USER_COLUMNS = [
    *("cms_segid", "cms_group_id", "final_gender_code", "age_level", "pvalue_level", "shopping_level", "occupation"),
    "new_user_class_level",
]
MISSING = dict(zip(USER_COLUMNS, [97, 13, 0, 7, 0, 0, 2, 0], strict=True))
UNKNOWN_USER, UNKNOWN_AD = 77, 9_999

Row = tuple[Any, ...]


def seconds(day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    """Unix time in Shanghai; day 1 is 6 May 2017, earlier days are 0 and below."""
    moment = datetime(2017, 5, 6, hour, minute, second, tzinfo=SHANGHAI) + timedelta(days=day - 1)
    return int(moment.timestamp())


@dataclass(frozen=True)
class World:
    """The four files, as rows."""

    impressions: list[Row]
    """user, time_stamp, adgroup_id, pid, nonclk, clk, ordered by ad as the official file is"""
    ads: list[Row]
    users: list[Row]
    behaviors: list[Row]

    def write(self, directory: Path, *, suffix: str = "") -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        headers = {
            "raw_sample.csv": "user,time_stamp,adgroup_id,pid,nonclk,clk",
            "ad_feature.csv": "adgroup_id,cate_id,campaign_id,customer,brand,price",
            "user_profile.csv": f"userid,{','.join(USER_COLUMNS)} ",  # the official header ends with a blank
            "behavior_log.csv": "user,time_stamp,btag,cate,brand",
        }
        for (name, header), rows in zip(
            headers.items(), [self.impressions, self.ads, self.users, self.behaviors], strict=True
        ):
            text = "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"
            content = gzip.compress(text.encode()) if suffix else text.encode()
            (directory / f"{name}{suffix}").write_bytes(content)
        return directory


def make_world() -> World:
    draw = random.Random(4)
    known = [1, 2, 3, 4, 5, 6]
    impressions: list[Row] = []
    for day in range(1, 9):
        for _ in range(40):
            click = int(draw.random() < 0.3)
            ad = draw.choice([10, 11, 12, 13, UNKNOWN_AD])
            moment = seconds(day, draw.randrange(24), 30 * draw.randrange(2))  # coarse, so that many tie
            pid = draw.choice(["430548_1007", "430539_1007"])
            impressions.append((draw.choice([*known, UNKNOWN_USER]), moment, ad, pid, 1 - click, click))
    edges = [seconds(1), seconds(2) - 1, seconds(2), seconds(9) - 1]
    impressions += [(1, moment, 10, "430548_1007", 0, 1) for moment in edges]
    impressions.sort(key=lambda row: (row[2], draw.random()))
    impressions.append(impressions[7])  # shown twice
    ads: list[Row] = [
        (13, 4, 500, 7, 77, 12.5),
        (10, 1, 501, 7, "NULL", 170.0),
        (11, 1, 502, 8, 78, 99999999.0),
        (12, 2, 503, 9, 79, 0.01),
        (12, 3, 503, 9, 79, 5.0),  # a second row of one ad
    ]
    users: list[Row] = [
        (5, 0, 5, 2, 5, "", 3, 0, 3),
        (1, 96, 12, 1, 6, 3, 1, 1, ""),
        (2, 5, 2, 2, 2, 1, 3, 1, 2),
        (3, 7, 0, 1, 0, 2, 2, 0, 1),
        (4, 200, 3, 2, 3, "", 1, 0, 4),  # 200 is no cms_segid
        (6, 1, 1, 1, 1, 1, 1, 0, 2),
    ]
    behaviors: list[Row] = []
    for _ in range(400):
        moment = seconds(draw.randrange(-13, 9), draw.randrange(24), 30 * draw.randrange(2))
        tag = draw.choice(["pv", "pv", "pv", "cart", "fav", "buy"])
        behaviors.append((draw.choice([*known, 88]), moment, tag, draw.randint(1, 6), draw.randint(70, 80)))
    behaviors += draw.sample(behaviors, 30)  # exact copies
    behaviors += [(1, moment, "pv", 5, 75) for moment in (-2_082_733_266, 0, seconds(-14) - 1, seconds(9), 2**40)]
    behaviors += [(1, "", "pv", 5, 75), (2, seconds(3), "buy", "NULL", "")]
    draw.shuffle(behaviors)
    return World(impressions, ads, users, behaviors)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def config_of(path: Path, **fields: Any) -> TaobaoData:
    return TaobaoData(path=str(path), **{"history_length": 5} | fields)


def prepared(config: TaobaoData, out: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """All events in order with their day, and the lines of the summary."""
    lines = list(prepare_log(config, Location.of(str(out))))
    return events_in(out), dict(line.split(": ", 1) for line in lines)


def events_in(out: Path) -> pd.DataFrame:
    schema = read_schema(Location.of(str(out)))
    frames = []
    for day in committed_days(Location.of(str(out))):
        tables = read_rows(Location.of(str(out)).day(day), arrow_schema(schema).names)
        frames += [table.to_pandas().assign(day=day) for table in tables]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def days(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, dict[str, str]]:
    root = tmp_path_factory.mktemp("taobao")
    return prepared(config_of(world.write(root / "raw")), root / "days")


def test_events_are_the_rows_in_order_of_time(world: World, days: tuple[pd.DataFrame, dict[str, str]]) -> None:
    events, _ = days
    expected = sorted(enumerate(world.impressions), key=lambda pair: (pair[1][1], pair[0]))
    assert events[EVENT_ID].tolist() == [place for place, _ in expected]
    for column, index in (("userid", 0), ("adgroup_id", 2), ("label_click", 5)):
        assert events[column].tolist() == [row[index] for _, row in expected], column
    assert events[EVENT_TIME].tolist() == [row[1] * 1_000 for _, row in expected]
    assert events["pid"].tolist() == [int(row[3] == "430548_1007") for _, row in expected]
    assert set(events["btag"]) == {1}


def test_days_are_shanghai_dates(days: tuple[pd.DataFrame, dict[str, str]]) -> None:
    events, _ = days
    dates = [datetime.fromtimestamp(time // 1_000, SHANGHAI).date() for time in events[EVENT_TIME]]
    assert [FIRST + timedelta(days=int(day) - 1) for day in events["day"]] == dates
    day_of = dict(zip(events[EVENT_TIME] // 1_000, events["day"], strict=True))
    edges = {seconds(1): 1, seconds(2) - 1: 1, seconds(2): 2, seconds(9) - 1: 8}
    assert {edge: day_of[edge] for edge in edges} == edges


def test_profiles_are_joined_and_what_is_missing_has_one_id(
    world: World, days: tuple[pd.DataFrame, dict[str, str]]
) -> None:
    events, told = days
    users = {row[0]: dict(zip(USER_COLUMNS, row[1:], strict=True)) for row in world.users}
    users[4]["cms_segid"] = ""
    ads = {row[0]: row[1:] for row in world.ads[:4]}
    for event in events.to_dict("records"):
        profile = users.get(event["userid"], dict.fromkeys(USER_COLUMNS, ""))
        assert {name: event[name] for name in USER_COLUMNS} == {
            name: MISSING[name] if value == "" else value for name, value in profile.items()
        }
        cate, campaign, customer, brand, price = ads.get(event["adgroup_id"], (-1, -1, -1, -1, 0))
        found = tuple(event[name] for name in ("cate_id", "campaign_id", "customer", "brand"))
        assert found == (cate, campaign, customer, -1 if brand == "NULL" else brand)
        assert event["price"] == np.float32(np.log1p(price))
    assert int(told["rows_without_user_profile"]) == (events["userid"] == UNKNOWN_USER).sum() > 0
    assert int(told["rows_without_ad_features"]) == (events["adgroup_id"] == UNKNOWN_AD).sum() > 0
    assert (told["user_levels_read_as_missing"], told["repeated_ads_dropped"]) == ("1", "1")


def test_histories_equal_a_plain_loop(world: World, days: tuple[pd.DataFrame, dict[str, str]]) -> None:
    events, told = days
    usable = [row for row in world.behaviors if row[1] != "" and seconds(-13) <= row[1] < seconds(9)]
    code = {"NULL": -1, "": -1}
    distinct = {
        (user, when, code.get(cate, cate), code.get(brand, brand), TAGS[tag]) for user, when, tag, cate, brand in usable
    }
    ordered = sorted(distinct)
    lengths = set()
    for event in events.itertuples():
        earlier = [row for row in ordered if row[0] == event.userid and row[1] * 1_000 < event.event_time]
        columns = (event.cate_his.tolist(), event.brand_his.tolist(), event.btag_his.tolist())
        assert list(zip(*columns, strict=True)) == [row[2:] for row in earlier[-5:]]
        lengths.add(len(earlier))
    assert 0 in lengths
    assert max(lengths) > 5
    assert int(told["repeated_behaviors_dropped"]) == len(usable) - len(distinct) >= 30
    assert int(told["behaviors_of_nonsense_time_dropped"]) == 6
    assert int(told["behaviors"]) == len(world.behaviors)


def test_the_summary_says_what_was_read(world: World, days: tuple[pd.DataFrame, dict[str, str]]) -> None:
    events, told = days
    assert told["rows"] == str(len(world.impressions))
    assert told["rows_per_day"] == str(events.groupby("day").size().tolist())
    assert float(told["click_rate"]) == pytest.approx(events["label_click"].mean())
    names = ("userid", "adgroup_id", "cate_id", "campaign_id", "customer", "brand")
    assert told["distinct_ids"] == str({name: events[name].nunique() for name in names})


def test_domains_are_nearly_equal_in_the_training_days(days: tuple[pd.DataFrame, dict[str, str]]) -> None:
    events, told = days
    training = events[events["day"] <= 4]
    assert training.groupby("domain").size().index.tolist() == [0, 1, 2]
    levels = {domain: sorted(set(rows["new_user_class_level"])) for domain, rows in events.groupby("domain")}
    assert told["domains"] == str({str(domain): of for domain, of in levels.items()})
    counts = training.groupby("new_user_class_level").size()
    merged = merge_levels(dict(counts), 3)
    assert (events["domain"] == events["new_user_class_level"].map(merged)).all()


@pytest.mark.parametrize(
    ("fields", "names", "column"),
    [
        ({"domain_column": None}, ("all",), None),
        ({"domain_column": "pid", "domains": None}, ("pid 0", "pid 1"), "pid"),
        (
            {"domain_column": "new_user_class_level", "domains": None},
            tuple(f"new_user_class_level {level}" for level in range(5)),
            "new_user_class_level",
        ),
    ],
)
def test_a_column_may_be_the_domain_as_it_is(
    world: World, tmp_path: Path, fields: dict[str, Any], names: tuple[str, ...], column: str | None
) -> None:
    events, _ = prepared(config_of(world.write(tmp_path / "raw"), **fields), tmp_path / "days")
    assert read_schema(Location.of(str(tmp_path / "days"))).domains == names
    assert events["domain"].tolist() == (events[column].tolist() if column else [0] * len(events))


SMALL = Sizes(range_bytes=4_000, chunk_rows=60, bucket_bytes=5_000, slice_rows=25)
"""Cuts the tiny files as if they were huge."""


def source_of(config: TaobaoData, sizes: Sizes = SMALL) -> TaobaoSource:
    source = raw_log(config)
    assert isinstance(source, TaobaoSource)
    return replace(source, sizes=sizes)


@pytest.fixture(scope="module")
def small_days(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[TaobaoSource, Location]:
    """Prepared in many pieces, undisturbed."""
    root = tmp_path_factory.mktemp("small")
    source, out = source_of(config_of(world.write(root / "raw"))), Location.of(str(root / "days"))
    prepare(source, out)
    return source.over(out / "work"), out


def test_many_pieces_give_the_same_days(
    days: tuple[pd.DataFrame, dict[str, str]], small_days: tuple[TaobaoSource, Location]
) -> None:
    source, out = small_days
    pieces = {stage.name.split("-")[0]: stage.pieces for stage in source.stages()}
    assert pieces == {"profiles": 2, "impressions": 3, "behaviors": 3, "buckets": 4}
    events, told = days
    pd.testing.assert_frame_equal(events_in(Path(out.uri)), events)
    assert {name: str(value) for name, value in source.summary().items()}.items() <= told.items()
    parts = [source.parts(day) for day in range(1, 9)]
    assert min(parts) >= 2
    assert max(source.part(day, part).num_rows for day in range(1, 9) for part in range(parts[day - 1])) <= 25


def test_gzips_give_the_same_days(world: World, days: tuple[pd.DataFrame, dict[str, str]], tmp_path: Path) -> None:
    source = source_of(config_of(world.write(tmp_path / "raw", suffix=".gz")), Sizes(chunk_rows=100))
    prepare(source, Location.of(str(tmp_path / "days")))
    pd.testing.assert_frame_equal(events_in(tmp_path / "days"), days[0])


def test_without_a_behaviour_log_there_are_no_histories_and_a_warning(
    world: World, days: tuple[pd.DataFrame, dict[str, str]], tmp_path: Path
) -> None:
    path = world.write(tmp_path / "raw")
    (path / "behavior_log.csv").unlink()
    events, told = prepared(config_of(path), tmp_path / "days")
    pd.testing.assert_frame_equal(events, days[0].drop(columns=["cate_his", "brand_his", "btag_his"]))
    assert told["warning"] == "there is no behavior_log.csv, so the days have no cate_his, brand_his, btag_his"


def test_an_empty_behaviour_log_gives_empty_histories(
    world: World, days: tuple[pd.DataFrame, dict[str, str]], tmp_path: Path
) -> None:
    path = replace(world, behaviors=[]).write(tmp_path / "raw")
    events, told = prepared(config_of(path), tmp_path / "days")
    histories = ["cate_his", "brand_his", "btag_his"]
    pd.testing.assert_frame_equal(events.drop(columns=histories), days[0].drop(columns=histories))
    assert not events[histories].map(len).any(axis=None)
    assert told["behaviors"] == "0"


def changed_from(world: World, border: int) -> World:
    """Other users, clicks and behaviours from a moment on, and more of them."""
    draw = random.Random(9)
    later = [row for row in world.impressions if row[1] >= border]
    users = [row[0] for row in later]
    draw.shuffle(users)
    impressions = [row for row in world.impressions if row[1] < border]
    impressions += [(user, *row[1:4], row[5], row[4]) for user, row in zip(users, later, strict=True)]
    behaviors = [row for row in world.behaviors if row[1] == "" or row[1] < border]
    behaviors += [
        (user, draw.randrange(border, seconds(9)), "cart", 2, 2) for user in [*range(8), 77] for _ in range(50)
    ]
    draw.shuffle(behaviors)
    return replace(world, impressions=sorted(impressions, key=lambda row: row[2]), behaviors=behaviors)


@pytest.mark.parametrize("border", [seconds(5), seconds(6, 12)])
def test_the_future_changes_nothing_before_it(world: World, tmp_path: Path, border: int) -> None:
    before, told = prepared(config_of(world.write(tmp_path / "before")), tmp_path / "days_before")
    other = changed_from(world, border)
    after, told_after = prepared(config_of(other.write(tmp_path / "after")), tmp_path / "days_after")
    columns = [name for name in before if name != EVENT_ID]  # the row in a file that has changed
    for earlier, same in ((True, True), (False, False)):
        first, second = (
            events[(events[EVENT_TIME] < border * 1_000) == earlier][columns].astype(str).sort_values(columns)
            for events in (before, after)
        )
        assert len(first) == len(second) > 90
        assert first.reset_index(drop=True).equals(second.reset_index(drop=True)) == same
    assert told["domains"] == told_after["domains"]


KILLED = """
import sys, time
from dataclasses import replace
from exfm_ray.config import TaobaoData
from exfm_ray.data.logs import groups
from exfm_ray.data.dataset import raw_log
from exfm_ray.data.location import Location
from exfm_ray.data.prepare import prepare
from exfm_ray.data.taobao.slices import Sizes

path, out, stuck, stage = sys.argv[1:]
commit = groups.commit

def stuck_before_commit(directory, *rest):
    if f"/{stage}-" in str(directory) and str(directory).endswith("00002"):
        open(stuck, "w").close()
        time.sleep(600)
    return commit(directory, *rest)

groups.commit = stuck_before_commit
source = replace(raw_log(TaobaoData(path=path, history_length=5)), sizes=Sizes(4_000, 60, 5_000, 25))
prepare(source, Location.of(out))
"""


@pytest.mark.parametrize("stage", ["behaviors", "buckets"])
def test_killed_in_a_stage_it_goes_on_to_the_same_bytes(
    world: World, small_days: tuple[TaobaoSource, Location], tmp_path: Path, stage: str
) -> None:
    path, out, stuck = world.write(tmp_path / "raw"), tmp_path / "killed", tmp_path / "stuck"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path), str(out), str(stuck), stage])
    try:
        while not stuck.exists():
            assert process.poll() is None, "the process ended before it was stuck"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    pieces = [Location.of(str(piece)) for piece in sorted((out / "work").glob(f"{stage}-*/piece=*"))]
    kept = [committed(piece) for piece in pieces]
    assert [manifest is not None for manifest in kept] == [True, True, False]
    half_written = pieces[2].children()
    assert half_written
    killed = Location.of(str(out))
    assert not committed_days(killed)
    prepare(source_of(config_of(path)), killed)
    assert [committed(piece) for piece in pieces[:2]] == kept[:2]
    assert not any(file.is_file() for file in half_written)
    assert checksums(killed) == checksums(small_days[1])


def checksums(dataset: Location) -> list[list[str]]:
    """Of the files of every day, in order."""
    manifests = [committed(dataset.day(day)) for day in range(1, 9)]
    return [[file.sha256 for file in manifest.files] for manifest in manifests if manifest is not None]


def test_pieces_of_a_file_that_was_mended_are_made_anew(
    world: World, small_days: tuple[TaobaoSource, Location], tmp_path: Path
) -> None:
    path, out = world.write(tmp_path / "raw"), Location.of(str(tmp_path / "days"))
    whole = (path / "behavior_log.csv").read_bytes()
    (path / "behavior_log.csv").write_bytes(b"%b1,2,look,3,4\n" % whole.replace(b"pv", b"fav"))
    with pytest.raises(UserError, match="column btag: found 'look', expected pv or cart or fav or buy"):
        prepare(source_of(config_of(path)), out)
    assert not committed_days(out)
    (path / "behavior_log.csv").write_bytes(whole)
    prepare(source_of(config_of(path)), out)
    assert checksums(out) == checksums(small_days[1])


PID = "430548_1007"


@pytest.mark.parametrize(
    ("table", "row", "told"),
    [
        ("impressions", (1, seconds(9), 10, PID, 1, 0), "raw_sample.csv, line 327, column time_stamp: found"),
        ("impressions", (1, seconds(1) - 1, 10, PID, 1, 0), "expected seconds from 2017-05-06 to 2017-05-13 in Asia"),
        ("impressions", (1, seconds(1), 10, PID, 1, 2), "column clk: found '2', expected 0 or 1"),
        ("impressions", (1, seconds(1), 10, PID, 1, 1), "column nonclk: found '1', expected 1 - clk"),
        (
            "impressions",
            (1, seconds(1), 10, "top", 1, 0),
            "column pid: found 'top', expected 430539_1007 or",
        ),
        ("impressions", (1, seconds(1), "", PID, 1, 0), "column adgroup_id: found nothing, expected a whole number"),
        ("impressions", (1, seconds(1)), "line 327: found 2 columns, expected 6 separated by commas"),
        ("ads", (14, 1, 1, 1, "acme", 2), "ad_feature.csv, line 7, column brand: found 'acme', expected a whole"),
        ("users", ("x", *[0] * 8), "user_profile.csv, line 8, column userid: found 'x', expected a whole number"),
        ("behaviors", (1, 5, "look", 1, 1), "behavior_log.csv, line 439, column btag: found 'look', expected pv or"),
        ("behaviors", (1, 5, "pv", 2**28, 1), "column cate: found '268435456', expected 0 to 268435454"),
        ("behaviors", (1, "soon", "pv", 2, 1), "column time_stamp: found 'soon', expected a whole number"),
    ],
)
def test_wrong_rows_are_told(world: World, tmp_path: Path, table: str, row: Row, told: str) -> None:
    broken: World = replace(world, **{table: [*getattr(world, table), row]})
    with pytest.raises(UserError) as error:
        prepared(config_of(broken.write(tmp_path / "raw")), tmp_path / "days")
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert not committed_days(Location.of(str(tmp_path / "days")))


def test_wrong_directories_and_headers_are_told(world: World, tmp_path: Path) -> None:
    path = world.write(tmp_path / "raw")
    with pytest.raises(UserError, match="does not exist; give the directory that holds TaobaoAd's files"):
        raw_log(config_of(tmp_path / "nowhere"))
    (path / "train.csv").write_text("clk\n")
    with pytest.raises(UserError, match=r"holds raw_sample\.csv and train\.csv; keep the raw files or x1's"):
        raw_log(config_of(path))
    (path / "train.csv").unlink()
    text = (path / "user_profile.csv").read_text()
    (path / "user_profile.csv").write_text(text.replace("new_user_class_level", "class", 1))
    with pytest.raises(UserError, match=r"user_profile\.csv, line 1: .* expected a column new_user_class_level"):
        raw_log(config_of(path))
    (path / "user_profile.csv").unlink()
    with pytest.raises(UserError, match=r"lacks user_profile\.csv; it needs raw_sample\.csv, ad_feature\.csv and"):
        raw_log(config_of(path))


def test_a_day_without_impressions_is_told(world: World, tmp_path: Path) -> None:
    rows = [row for row in world.impressions if not seconds(3) <= row[1] < seconds(4)]
    path = replace(world, impressions=rows).write(tmp_path / "raw")
    with pytest.raises(UserError, match="the log has no impressions on 2017-05-08; choose dates that all have some"):
        prepared(config_of(path), tmp_path / "days")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"last_date": "2017-05-07"}, "must be two days after"),
        ({"behaviors_from": "2017-05-07"}, "must not be after first_date"),
        ({"domain_days": 9}, "must be one of the 8 days"),
        ({"domain_column": "userid"}, "domain_column"),
    ],
)
def test_the_configuration_is_checked(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TaobaoData(path="somewhere", **fields)


def test_features_are_the_published_ones(
    world: World, days: tuple[pd.DataFrame, dict[str, str]], tmp_path: Path
) -> None:
    schema = raw_log(config_of(world.write(tmp_path / "raw"))).schema()
    assert [len(schema.of_kind(kind)) for kind in ("categorical", "numeric", "sequence")] == [16, 1, 3]
    shares = {feature.name: feature.shares for feature in schema.of_kind("sequence")}
    assert shares == {"cate_his": "cate_id", "brand_his": "brand", "btag_his": "btag"}
    for feature in schema.of_kind("categorical"):
        if feature.encoding == "identity":
            values = days[0][feature.name]
            assert 0 <= values.min() <= values.max() < feature.rows, feature.name
    assert days[0]["btag_his"].explode().dropna().between(1, 4).all()


def test_prepared_days_open_as_a_data_set(world: World, tmp_path: Path) -> None:
    config = config_of(world.write(tmp_path / "raw"))
    prepared(config, tmp_path / "days")
    opened = open_dataset(config.model_copy(update={"path": str(tmp_path / "days")}))
    assert (opened.days, opened.schema) == (8, raw_log(config).schema())
    assert not (tmp_path / "days" / "work").exists()
