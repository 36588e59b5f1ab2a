import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from exfm_ray.config import KuaiRandData
from exfm_ray.data.kuairand.check import check_kuairand
from exfm_ray.data.kuairand.features import code_column
from exfm_ray.data.kuairand.source import KuaiRandSource
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema, committed_days, read_rows, row_count, write_partition
from exfm_ray.errors import UserError
from exfm_ray.schema import EVENT_ID, EVENT_TIME

BEIJING = ZoneInfo("Asia/Shanghai")
FEEDBACK = ["is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"]
LOG_COLUMNS = [
    *("user_id", "video_id", "date", "hourmin", "time_ms", *FEEDBACK[:-1], "long_view", "play_time_ms", "duration_ms"),
    *("profile_stay_time", "comment_stay_time", "is_profile_enter", "is_rand", "tab"),
]
"""In the official order."""
MISSING_USER, MISSING_VIDEO, UNKNOWN_TAB = 77, 99, 40
MIDNIGHT = 1_650_902_400_000
"""The beginning of 26 April 2022 in Beijing."""


def milliseconds(day: date, hour: int, minute: int = 0) -> int:
    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=BEIJING)
    return int(moment.timestamp()) * 1_000


def beijing(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms // 1_000, BEIJING)


@dataclass(frozen=True)
class World:
    """Small tables as the official files have them."""

    log: pd.DataFrame
    users: pd.DataFrame
    videos: pd.DataFrame

    def official(self, directory: Path) -> Path:
        directory.mkdir(parents=True)
        early = self.log["date"] < 20220422
        self.log[early].to_csv(directory / "log_standard_4_08_to_4_21_pure.csv", index=False)
        self.log[~early].to_csv(directory / "log_standard_4_22_to_5_08_pure.csv", index=False)
        self.users.to_csv(directory / "user_features_pure.csv", index=False)
        self.videos.to_csv(directory / "video_features_basic_pure.csv", index=False)
        return directory

    def parquet(self, directory: Path) -> Path:
        directory.mkdir(parents=True)
        early = self.log["date"] < 20220425
        small = dict.fromkeys([*FEEDBACK, "is_profile_enter", "is_rand", "tab"], "int8")
        self.log[~early].astype(small).to_parquet(directory / "interactions.parquet", index=False)
        past = self.log[early].drop_duplicates().sort_values(["user_id", "time_ms", "video_id"], kind="stable")
        past["order_in_user"] = past.groupby("user_id").cumcount()
        past = past[["user_id", "order_in_user", "video_id", "long_view", "is_like"]]
        past.sample(frac=1, random_state=1).to_parquet(directory / "warmup_until_20220424.parquet", index=False)
        self.users.to_parquet(directory / "users.parquet", index=False)
        counters = self.videos.assign(show_cnt=1.5, play_duration=2.5, tag=self.videos["tag"].fillna("unknown"))
        counters.to_parquet(directory / "items.parquet", index=False)
        return directory


def make_log() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    rows = []
    for day in (date(2022, 4, 20), *(date(2022, 4, 23) + timedelta(days=step) for step in range(6))):
        users = [0, 1, 5, MISSING_USER] + [2] * (day >= date(2022, 4, 25))  # user 2 begins without a history
        for _ in range(40):
            time_ms = milliseconds(day, int(rng.integers(24)), 30 * int(rng.integers(2)))  # coarse, so that many tie
            rows.append((int(rng.choice(users)), int(rng.choice([*range(7), MISSING_VIDEO])), time_ms))
    rows += [(0, 1, MIDNIGHT - 1), (0, 2, MIDNIGHT), (0, 5, MIDNIGHT), (1, 3, MIDNIGHT), (1, 4, MIDNIGHT + 1)]
    log = pd.DataFrame(rows, columns=["user_id", "video_id", "time_ms"])
    log["date"] = [int(beijing(time).strftime("%Y%m%d")) for time in log["time_ms"]]
    log["hourmin"] = [beijing(time).hour * 100 for time in log["time_ms"]]
    for column in FEEDBACK:
        log[column] = rng.integers(0, 2, len(log))
    log["play_time_ms"] = rng.integers(0, 90_000, len(log))
    log["duration_ms"] = rng.integers(1_000, 90_000, len(log))
    log["profile_stay_time"] = log["comment_stay_time"] = log["is_rand"] = 0
    log["is_profile_enter"] = rng.integers(0, 2, len(log))
    log["tab"] = rng.choice([0, 1, 2, 4, UNKNOWN_TAB], len(log))
    log = log[LOG_COLUMNS]
    near_copy = log.iloc[[170]].assign(play_time_ms=90_001)
    mixed = pd.concat([log, near_copy]).sample(frac=1, random_state=2)
    return pd.concat([mixed, log.iloc[[90, 130, 170, 171]], log.iloc[[170]]], ignore_index=True)


@pytest.fixture(scope="module")
def world() -> World:
    users = pd.DataFrame(
        {
            "user_id": [5, 0, 1, 2],
            "user_active_degree": ["full_active", "UNKNOWN", "high_active", None],
            "is_live_streamer": [-124, 1, 0, -124],
            "follow_user_num": [3, 4, 5, 6],
            "onehot_feat4": [9.0, np.nan, 2.0, 10.0],
        }
    )
    videos = pd.DataFrame(
        {
            "video_id": range(7),
            "author_id": [900, 700, 700, 800, 900, 600, 500],
            "video_type": ["NORMAL", "AD", "NORMAL", "NORMAL", "AD", "NORMAL", "NORMAL"],
            "music_id": [9_155_697_141, 5, 5, 6, 7, 8, 9],
            "music_type": [9.0, np.nan, 4.0, 9.0, 9.0, 9.0, 11.0],
            "tag": ["20,43", "7", "9", None, "43,20", "20", "1"],
        }
    )
    return World(make_log(), users, videos)


def config_of(path: Path, **fields: Any) -> KuaiRandData:
    chosen: dict[str, Any] = {
        "tasks": ("click", "long_view", "like", "follow", "profile_enter"),
        "last_date": date(2022, 4, 27),
        "history_length": 3,
        "user_columns": ("user_active_degree", "is_live_streamer", "onehot_feat4"),
        "item_columns": ("author_id", "video_type", "music_id", "music_type", "tag"),
    }
    return KuaiRandData(path=str(path), **chosen | fields)


def day_tables(config: KuaiRandData) -> list[pa.Table]:
    source = KuaiRandSource(config)
    return [source.part(day, part) for day in range(1, source.days + 1) for part in range(source.parts(day))]


def events_of(config: KuaiRandData) -> pd.DataFrame:
    """All events in order, with their day."""
    frames = [table.to_pandas().assign(day=day) for day, table in enumerate(day_tables(config), 1)]
    return pd.concat(frames, ignore_index=True)


def distinct_log(world: World) -> pd.DataFrame:
    """The log without copies, in event order, with each row's Beijing date."""
    log = world.log.drop_duplicates().sort_values(["time_ms", "user_id", "video_id"], kind="stable")
    return log.assign(beijing=[beijing(time).date() for time in log["time_ms"]]).reset_index(drop=True)


def test_layouts_give_identical_days(world: World, tmp_path: Path) -> None:
    world.official(tmp_path / "unpacked" / "data")
    paths = [world.official(tmp_path / "official"), tmp_path / "unpacked", world.parquet(tmp_path / "parquet")]
    official, unpacked, parquet = (day_tables(config_of(path)) for path in paths)
    assert len(official) == 3
    assert all(table.num_rows > 30 for table in official)
    assert official == unpacked == parquet
    schema = KuaiRandSource(config_of(paths[0])).schema()
    assert all(table.schema.equals(arrow_schema(schema)) for table in official)
    assert schema == KuaiRandSource(config_of(paths[2])).schema()


def test_one_official_log_file_is_enough(world: World, tmp_path: Path) -> None:
    path = world.official(tmp_path / "official")
    before = events_of(config_of(path))
    alone = replace(world, log=world.log[world.log["date"] >= 20220422]).official(tmp_path / "alone")
    (alone / "log_standard_4_08_to_4_21_pure.csv").unlink()
    without_history = [name for name in before if not name.startswith("history_")]
    pd.testing.assert_frame_equal(events_of(config_of(alone))[without_history], before[without_history])


def test_days_are_beijing_dates(world: World, tmp_path: Path) -> None:
    events = events_of(config_of(world.parquet(tmp_path / "tables")))
    dates = [date(2022, 4, 24) + timedelta(days=int(day)) for day in events["day"]]
    assert [beijing(time).date() for time in events[EVENT_TIME]] == dates
    assert [beijing(time).hour for time in events[EVENT_TIME]] == events["hour"].tolist()
    around = {time: set(events["day"][events[EVENT_TIME] == time]) for time in (MIDNIGHT - 1, MIDNIGHT)}
    assert around == {MIDNIGHT - 1: {1}, MIDNIGHT: {2}}


def test_time_wins_over_the_date_column(world: World, tmp_path: Path) -> None:
    wrong = world.log["time_ms"].between(MIDNIGHT - 3_600_000, MIDNIGHT - 1)
    log = world.log.assign(date=world.log["date"].mask(wrong, 20220426))
    source = KuaiRandSource(config_of(replace(world, log=log).parquet(tmp_path / "wrong")))
    assert day_tables(source.config) == day_tables(config_of(world.parquet(tmp_path / "right")))
    assert source.summary()["rows_dated_otherwise"] == wrong.sum() > 0


def test_events_are_the_distinct_rows_in_order(world: World, tmp_path: Path) -> None:
    events = events_of(config_of(world.official(tmp_path / "tables")))
    log = distinct_log(world)
    expected = log[(log["beijing"] >= date(2022, 4, 25)) & (log["beijing"] <= date(2022, 4, 27))]
    assert events[EVENT_ID].tolist() == list(range(len(expected)))
    pairs = [("user_id",) * 2, ("video_id",) * 2, (EVENT_TIME, "time_ms"), ("label_click", "is_click")]
    pairs += [("label_long_view", "long_view"), ("label_like", "is_like"), ("label_profile_enter", "is_profile_enter")]
    for column, raw in [*pairs, ("label_follow", "is_follow")]:
        assert events[column].tolist() == expected[raw].tolist(), column
    seconds = expected["duration_ms"].to_numpy() / 1_000
    np.testing.assert_array_equal(events["log_duration"], np.log1p(seconds).astype(np.float32))


def test_tabs_become_domains(world: World, tmp_path: Path) -> None:
    path = world.parquet(tmp_path / "tables")
    everything = events_of(config_of(path, domains=((1,), (0, 4), ())))
    assert KuaiRandSource(config_of(path, domains=((1,), (0, 4), ()))).schema().domains == (
        "tab 1",
        "tabs 0, 4",
        "other tabs",
    )
    domain_of = {
        0: 1,
        1: 0,
        2: 2,
        4: 1,
        15: 2,
    }  # tab 40 does not exist in the published log: the last row stands for it
    assert set(everything["tab"]) == set(domain_of)
    assert everything["domain"].tolist() == [domain_of[tab] for tab in everything["tab"]]

    source = KuaiRandSource(config_of(path, domains=((4,), (1,))))
    some = events_of(source.config)
    kept = everything["tab"].isin([1, 4])
    assert some[EVENT_ID].tolist() == everything[EVENT_ID][kept].tolist()
    assert source.summary()["rows_in_no_domain_dropped"] == (~kept).sum() > 0
    assert some["history_video"].map(list).tolist() == everything["history_video"][kept].map(list).tolist()


@pytest.mark.parametrize("layout", ["official", "parquet"])
def test_histories_equal_a_plain_loop(world: World, tmp_path: Path, layout: str) -> None:
    events = events_of(config_of(getattr(world, layout)(tmp_path / "tables")))
    views = distinct_log(world).query("long_view == 1")
    authors = dict(zip(world.videos["video_id"], world.videos["author_id"], strict=True))
    codes = {author: code for code, author in enumerate([500, 600, 700, 800, 900], 1)}
    lengths = set()
    for event in events.itertuples():
        earlier = [
            v.video_id for v in views.itertuples() if v.user_id == event.user_id and v.time_ms < event.event_time
        ]
        assert event.history_video.tolist() == earlier[-3:]
        assert event.history_author.tolist() == [codes.get(authors.get(video), 0) for video in earlier[-3:]]
        lengths.add(len(earlier))
    assert {0, 2, 3, 4} <= lengths


def test_static_columns_have_the_codes_of_their_tables(world: World, tmp_path: Path) -> None:
    config = config_of(world.official(tmp_path / "tables"))
    events = events_of(config)
    user_codes = {0: (1, 3, 0), 1: (3, 2, 1), 2: (0, 1, 3), 5: (2, 1, 2), MISSING_USER: (0, 0, 0)}
    read = zip(events["user_active_degree"], events["is_live_streamer"], events["onehot_feat4"], strict=True)
    assert list(read) == [user_codes[user] for user in events["user_id"]]
    assert set(events["user_id"]) == set(user_codes)
    tag_codes = {0: 2, 1: 4, 2: 5, 3: 0, 4: 3, 5: 2, 6: 1, MISSING_VIDEO: 0}  # first tags in order: 1, 20, 43, 7, 9
    assert events["tag"].tolist() == [tag_codes[video] for video in events["video_id"]]
    features = {feature.name: feature for feature in KuaiRandSource(config).schema().features}
    assert (features["tag"].rows, features["tag"].encoding) == (6, "identity")
    fm_only = {name for name, feature in features.items() if feature.fm_only}
    assert fm_only == {"history_author", "music_id", "music_type", "onehot_feat4"}
    assert (features["history_video"].shares, features["history_author"].shares) == ("video_id", "author_id")


def test_columns_of_many_ids_are_hashed() -> None:
    ids = np.array([5_000_000_000, np.nan, *range(1_200)])
    column = code_column("music_id", ids)
    assert column.codes.tolist() == [5_000_000_000, -1, *range(1_200), -1]
    assert (column.feature.rows, column.feature.encoding) == (3_000, "hash")
    names = np.array([None, *(f"name {index:04d}" for index in range(1_200))], dtype=object)
    assert code_column("some_name", names).codes.tolist() == [*range(1_201), 0]


def test_no_author_history_without_author_id(world: World, tmp_path: Path) -> None:
    config = config_of(world.parquet(tmp_path / "tables"), item_columns=("tag",), user_columns=())
    names = [feature.name for feature in KuaiRandSource(config).schema().features]
    assert names == ["user_id", "video_id", "tab", "hour", "tag", "log_duration", "history_video"]
    assert day_tables(config)[0].num_rows


def altered_after(log: pd.DataFrame, time_ms: int) -> pd.DataFrame:
    """The log with all rows from a moment on altered: other labels, users, videos and order, and some missing."""
    past, future = log[log["time_ms"] < time_ms], log[log["time_ms"] >= time_ms]
    rng = np.random.default_rng(5)
    future = future.assign(**{column: 1 - future[column] for column in [*FEEDBACK, "is_profile_enter"]})
    future = future.assign(
        user_id=rng.permutation(future["user_id"]), video_id=future["video_id"] + 1_000, tab=1, duration_ms=7
    )
    return pd.concat([future[len(future) // 3 :].sample(frac=1, random_state=4), past], ignore_index=True)


@pytest.mark.parametrize("layout", ["official", "parquet"])
@pytest.mark.parametrize("day", [1, 2])
def test_nothing_of_the_days_to_come_is_known(world: World, tmp_path: Path, layout: str, day: int) -> None:
    log = altered_after(world.log, milliseconds(date(2022, 4, 25) + timedelta(days=day), 0))
    told, untold = (
        config_of(getattr(tables, layout)(tmp_path / name))
        for tables, name in ((world, "told"), (replace(world, log=log), "untold"))
    )
    assert day_tables(told)[:day] == day_tables(untold)[:day]
    assert day_tables(told)[day] != day_tables(untold)[day]
    assert KuaiRandSource(told).schema() == KuaiRandSource(untold).schema()


def test_labels_of_an_event_are_in_none_of_its_features(world: World, tmp_path: Path) -> None:
    flips = {
        column: world.log[column].where(world.log["time_ms"] < MIDNIGHT, 1 - world.log[column]) for column in FEEDBACK
    }
    before = events_of(config_of(world.parquet(tmp_path / "before")))
    after = events_of(config_of(replace(world, log=world.log.assign(**flips)).parquet(tmp_path / "after")))
    features = [name for name in before if not name.startswith("label_")]
    until = before[EVENT_TIME] <= MIDNIGHT
    assert (before["user_id"][before[EVENT_TIME] == MIDNIGHT] == 0).sum() == 2
    pd.testing.assert_frame_equal(before.loc[until, features], after.loc[until, features])
    assert not before.loc[until, "label_click"].equals(after.loc[until, "label_click"])


def test_a_warmup_that_the_log_overlaps_is_left_out(world: World, tmp_path: Path) -> None:
    path = world.parquet(tmp_path / "tables")
    assert KuaiRandSource(config_of(path)).summary()["warmup_long_views"] > 0
    whole = world.parquet(tmp_path / "whole")
    world.log.to_parquet(whole / "interactions.parquet", index=False)
    source = KuaiRandSource(config_of(whole))
    assert source.summary()["warmup_long_views"] == 0
    assert day_tables(source.config) == day_tables(config_of(path))


def test_a_warmup_that_the_days_reach_into_is_left_out(world: World, tmp_path: Path) -> None:
    log = world.log.assign(date=world.log["date"].replace(20220424, 20220425))  # its time still says 24 April
    path = replace(world, log=log).parquet(tmp_path / "tables")
    assert KuaiRandSource(config_of(path)).summary()["warmup_long_views"] > 0
    assert KuaiRandSource(config_of(path, first_date=date(2022, 4, 24))).summary()["warmup_long_views"] == 0


def test_summary(world: World, tmp_path: Path) -> None:
    source = KuaiRandSource(config_of(world.official(tmp_path / "tables")))
    summary, events = source.summary(), events_of(source.config)
    until = world.log[world.log["time_ms"] < milliseconds(date(2022, 4, 28), 0)]
    assert summary.pop("rates") == pytest.approx({task: events[f"label_{task}"].mean() for task in source.config.tasks})
    assert summary == {
        "rows": len(events),
        "days": 3,
        "rows_per_day": events.groupby("day").size().tolist(),
        "users": 5,
        "videos": 8,
        "duplicates_dropped": until.duplicated().sum(),
        "rows_before_first_date": 120,
        "rows_in_no_domain_dropped": 0,
        "rows_dated_otherwise": 0,
        "warmup_long_views": 0,
    }
    assert summary["duplicates_dropped"] > 0


def test_travels_to_another_process_and_directory(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.parquet(tmp_path / "tables")
    monkeypatch.chdir(tmp_path)
    source = KuaiRandSource(config_of(Path("tables")))
    pickled = pickle.dumps(source)
    monkeypatch.chdir("/")
    assert len(pickled) < 5_000
    assert pickle.loads(pickled).part(1, 0) == source.part(1, 0)


def without(name: str) -> Callable[[World, Path], None]:
    return lambda world, path: (path / name).unlink()


def log_with(**columns: Any) -> Callable[[World, Path], None]:
    def write(world: World, path: Path) -> None:
        log = world.log[world.log["date"] >= 20220422].astype(dict.fromkeys(columns, object))
        log.iloc[7, [log.columns.get_loc(name) for name in columns]] = list(columns.values())
        log.to_csv(path / "log_standard_4_22_to_5_08_pure.csv", index=False)

    return write


def log_without(column: str) -> Callable[[World, Path], None]:
    def write(world: World, path: Path) -> None:
        world.log.drop(columns=column).to_csv(path / "log_standard_4_08_to_4_21_pure.csv", index=False)

    return write


def videos_without(column: str) -> Callable[[World, Path], None]:
    return lambda world, path: world.videos.drop(columns=column).to_csv(
        path / "video_features_basic_pure.csv", index=False
    )


def one_line(error: pytest.ExceptionInfo[UserError], *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (without("user_features_pure.csv"), ("data.path", "lacks user_features_pure.csv")),
        (without("video_features_basic_pure.csv"), ("data.path", "lacks video_features_basic_pure.csv")),
        (log_without("duration_ms"), ("'duration_ms'", "log_standard_4_08_to_4_21_pure.csv")),
        (log_without("is_follow"), ("'is_follow'", "log_standard_4_08_to_4_21_pure.csv")),
        (videos_without("music_type"), ("'music_type'", "video_features_basic_pure.csv")),
        (lambda world, path: (path / "user_features_pure.csv").write_text(""), ("user_features_pure.csv", "as CSV")),
    ],
)
def test_wrong_tables_are_told(
    world: World, tmp_path: Path, spoil: Callable[[World, Path], None], parts: tuple[str, ...]
) -> None:
    path = world.official(tmp_path / "tables")
    check_kuairand(config_of(path))
    spoil(world, path)
    with pytest.raises(UserError) as error:
        check_kuairand(config_of(path))
    one_line(error, *parts)
    with pytest.raises(UserError):
        KuaiRandSource(config_of(path)).schema()


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"is_click": 2}, ("is_click", "2", "0 or 1")),
        ({"long_view": -1}, ("long_view", "-1", "0 or 1")),
        ({"is_like": "yes"}, ("is_like", "'yes'", "whole number")),
        ({"is_follow": ""}, ("is_follow", "nothing", "whole number")),
        ({"tab": "1.5"}, ("tab", "1.5", "whole number")),
    ],
)
def test_wrong_values_are_told(world: World, tmp_path: Path, values: dict[str, Any], parts: tuple[str, ...]) -> None:
    path = world.official(tmp_path / "tables")
    log_with(**values)(world, path)
    with pytest.raises(UserError) as error:
        KuaiRandSource(config_of(path)).part(1, 0)
    one_line(error, *parts, "log_standard_4_22_to_5_08_pure.csv")


def test_wrong_numbers_of_static_tables_are_told(world: World, tmp_path: Path) -> None:
    path = world.official(tmp_path / "tables")
    degrees = world.users.astype({"onehot_feat4": object})
    degrees.loc[2, "onehot_feat4"] = "high"
    degrees.to_csv(path / "user_features_pure.csv", index=False)
    with pytest.raises(UserError) as error:
        KuaiRandSource(config_of(path)).schema()
    one_line(error, "onehot_feat4", "'high'", "user_features_pure.csv")


def test_wrong_paths_are_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    broken = world.parquet(tmp_path / "broken")
    (broken / "items.parquet").write_bytes(b"PAR1 is cut short")
    partial = world.parquet(tmp_path / "partial")
    (partial / "interactions.parquet").unlink()
    wrongs = {
        "absent": "does not exist",
        "file": "is a file",
        "empty": "is an empty directory",
        "other": "holds no table of KuaiRand-Pure",
        "broken": "cannot be read as Parquet",
        "partial": "lacks interactions.parquet",
    }
    for name, part in wrongs.items():
        with pytest.raises(UserError) as error:
            check_kuairand(config_of(tmp_path / name))
        one_line(error, "data.path", name, part)


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"first_date": date(2023, 1, 1), "last_date": date(2023, 1, 4)}, ("first_date", "2022-04-20", "2022-04-28")),
        ({"last_date": date(2022, 4, 29)}, ("last_date", "2022-04-29")),
        ({"item_columns": ("play_duration",)}, ("data.item_columns", "'play_duration'", "author_id")),
        ({"item_columns": ("tag", "tag")}, ("data.item_columns", "'tag'")),
        ({"user_columns": ("user_id",)}, ("data.user_columns", "'user_id'")),
        ({"user_columns": ("no_such",)}, ("'no_such'", "user_features_pure.csv", "is_live_streamer")),
        ({"tasks": ("click", "click")}, ("data.tasks", "click")),
    ],
)
def test_wrong_fields_are_told(world: World, tmp_path: Path, fields: dict[str, Any], parts: tuple[str, ...]) -> None:
    path = world.official(tmp_path / "tables")
    with pytest.raises(UserError) as error:
        check_kuairand(config_of(path, **fields))
    one_line(error, *parts)


@pytest.mark.parametrize(("field", "column"), [("item_columns", "like_cnt"), ("user_columns", "fans_user_num")])
def test_counters_over_the_month_are_refused(tmp_path: Path, field: str, column: str) -> None:
    with pytest.raises(ValidationError, match=f"{column} is a counter over the whole month"):
        config_of(tmp_path, **{field: (column,)})


PUBLISHED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "kuairand_pure_14d"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published tables are not beside this repository")
def test_published_log(tmp_path: Path) -> None:
    source = KuaiRandSource(KuaiRandData(path=str(PUBLISHED), tasks=("click", "long_view", "like", "profile_enter")))
    dataset, schema = Location.of(str(tmp_path / "days")), source.schema()
    for day in range(1, source.days + 1):
        write_partition(dataset, day, [source.part(day, 0)], schema)
    summary = source.summary()
    # 141 of the 222,869 distinct rows happened in the hour before 25 April although their `date` says that day
    assert summary["rows"] + summary["rows_before_first_date"] == 222_869
    assert (summary["rows"], summary["duplicates_dropped"]) == (222_728, 5_460)
    assert summary["rates"] == pytest.approx(
        {"click": 0.4419, "long_view": 0.3108, "like": 0.01715, "profile_enter": 0.01853}, rel=0.03
    )
    assert committed_days(dataset) == list(range(1, 15))
    assert [row_count(dataset, day) for day in range(1, 15)] == summary["rows_per_day"]
    names = arrow_schema(schema).names
    for day in (1, 14):
        read = pa.concat_tables(read_rows(dataset.day(day), names))
        assert read.combine_chunks() == source.part(day, 0)
        lengths = read["history_video"].combine_chunks().value_lengths().to_numpy()
        assert 3 < lengths.mean() <= lengths.max() <= 20
    for feature in schema.of_kind("categorical"):
        if feature.encoding == "identity":
            values = source.part(7, 0)[feature.name].to_numpy()
            assert 0 <= values.min() <= values.max() < feature.rows, feature.name
    assert math.isclose(source.part(1, 0)["log_duration"].to_numpy().mean(), 3.6, abs_tol=1)
