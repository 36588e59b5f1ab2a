import gzip
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.config import KuaiVideoData
from exfm_ray.data.dataset import raw_log
from exfm_ray.data.kuaivideo import stages
from exfm_ray.data.kuaivideo.source import DAY_MS, KuaiVideoSource, times_within_day
from exfm_ray.data.location import Location
from exfm_ray.data.logs import time_slices, user_buckets
from exfm_ray.data.partitions import arrow_schema, committed_days, read_rows, read_schema
from exfm_ray.data.prepare import prepare
from exfm_ray.errors import UserError
from exfm_ray.prepare_log import prepare_log

RAW, TRAIN, TEST = "train_interaction.txt", "train.csv", "test.csv"
FIRST_TIME = 760_994_900_000
LISTED = 5
"""Items of a published list in this fixture, where the official ones have 100."""


def raw(log: pd.DataFrame, directory: Path, ending: str = "") -> Path:
    """The competition's file."""
    directory.mkdir(parents=True)
    columns = ["user_id", "item_id", "click", "like", "follow", "time", "playing", "duration"]
    text = log[columns].to_csv(sep="\t", header=False, index=False).encode()
    (directory / f"{RAW}{ending}").write_bytes(gzip.compress(text) if ending else text)
    return directory


def x1(log: pd.DataFrame, directory: Path) -> Path:
    """KuaiVideo_x1: every fifth row is the test's, both files sorted by time, the lists those of the whole period."""
    directory.mkdir(parents=True)
    ordered = log.sort_values("time", kind="stable")
    lists = {
        (user, click): "^".join(map(str, rows["item_id"][:LISTED]))
        for (user, click), rows in ordered.groupby(["user_id", "click"])
    }
    table = pd.DataFrame(
        {
            "timestamp": ordered["time"],
            "user_id": ordered["user_id"],
            "item_id": ordered["item_id"],
            **{f"is_{task}": ordered[task] for task in ("click", "like", "follow")},
            "pos_items": [lists.get((user, 1), "") for user in ordered["user_id"]],
            "neg_items": [lists.get((user, 0), "") for user in ordered["user_id"]],
        }
    )
    is_test = np.arange(len(table)) % 5 == 0
    table[~is_test].to_csv(directory / TRAIN, index=False)
    table[is_test].to_csv(directory / TEST, index=False)
    return directory


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    rows = 600
    log = pd.DataFrame(
        {
            "user_id": rng.choice([2, 3, 5, 8, 37_820], rows),
            "item_id": rng.integers(1, 90, rows) * 80_000,
            "click": (rng.random(rows) < 0.3).astype(int),
            "like": (rng.random(rows) < 0.1).astype(int),
            "follow": (rng.random(rows) < 0.05).astype(int),
            "time": FIRST_TIME + rng.integers(0, 250, rows) * 40_000,  # coarse, so that many tie
            "playing": rng.integers(0, 60, rows),
            "duration": rng.integers(5, 60, rows),
        }
    )
    log.loc[log["user_id"] == 8, "click"] = 0  # nothing clicked: an empty list
    return log.drop_duplicates(["user_id", "item_id", "time"], ignore_index=True)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several ranges, files, buckets and slices though the log is small."""
    monkeypatch.setattr(user_buckets, "BYTES_PER_BUCKET", 9_000)
    monkeypatch.setattr(stages, "RANGE_BYTES", 10_000)
    monkeypatch.setattr(stages, "SHARE_WITHOUT_LISTS", 1 / 3)
    monkeypatch.setattr(time_slices, "ROWS_PER_SLICE", 60)


def config_of(path: Path, **fields: Any) -> KuaiVideoData:
    return KuaiVideoData(path=str(path), **{"days": 4, "history_length": 7, **fields})


def prepared(config: KuaiVideoData, out: Path) -> pd.DataFrame:
    """All events of all days, in order."""
    dataset = Location.of(str(out))
    prepare(raw_log(config), dataset)
    days = []
    for day in committed_days(dataset):
        tables = read_rows(dataset.day(day), arrow_schema(read_schema(dataset)).names)
        days.append(pa.concat_tables(tables).to_pandas().assign(day=day))
    return pd.concat(days, ignore_index=True)


def histories(events: pd.DataFrame, column: str) -> list[list[int]]:
    return [values.tolist() for values in events[column]]


def plain_events(log: pd.DataFrame, length: int) -> pd.DataFrame:
    """Order and histories by a loop."""
    rows = log.assign(place=range(len(log))).sort_values(["time", "user_id", "place"])
    clicked, passed = [], []
    for row in rows.itertuples():
        before = rows[(rows["user_id"] == row.user_id) & (rows["time"] < row.time)]
        clicked.append(before["item_id"][before["click"] == 1].tolist()[-length:])
        passed.append(before["item_id"][before["click"] == 0].tolist()[-length:])
    return rows.assign(pos_items=clicked, neg_items=passed).reset_index(drop=True)


@pytest.fixture(scope="module")
def expected(log: pd.DataFrame) -> pd.DataFrame:
    return plain_events(log, 7)


def check_events(events: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert events["event_id"].tolist() == list(range(len(expected)))
    for column in ("user_id", "item_id"):
        assert events[column].tolist() == expected[column].tolist()
    for task in ("click", "like", "follow"):
        assert events[f"label_{task}"].tolist() == expected[task].tolist()
    for column in ("pos_items", "neg_items"):
        assert histories(events, column) == expected[column].tolist()


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_raw_events_and_histories(log: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path, ending: str) -> None:
    config = config_of(raw(log, tmp_path / "tables", ending))
    log_stage, users, _ = KuaiVideoSource(config).stages()
    assert (log_stage.pieces > 2, users.pieces > 1) == (not ending, True)
    check_events(prepared(config, tmp_path / "days"), expected)
    assert max(map(len, expected["neg_items"])) == 7
    assert [] in expected["pos_items"][300:].tolist()


def test_numbers_may_be_written_as_fractions(log: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path) -> None:
    config = config_of(raw(log.astype(float), tmp_path / "tables"))
    assert (tmp_path / "tables" / RAW).read_text().split("\t")[2] in ("0.0", "1.0")
    check_events(prepared(config, tmp_path / "days"), expected)


def test_x1_is_the_same_log(log: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path) -> None:
    events = prepared(config_of(x1(log, tmp_path / "tables")), tmp_path / "days")
    untied = ~log.duplicated(["user_id", "time"], keep=False)
    keys = set(zip(log["user_id"][untied], log["item_id"][untied], strict=True))
    assert events["user_id"].tolist() == expected["user_id"].tolist()
    kept = [pair in keys for pair in zip(events["user_id"], events["item_id"], strict=True)]
    assert sum(kept) > 100
    for column in ("pos_items", "neg_items"):  # what ties in time may stand in another order in the two files
        found, wanted = histories(events, column), expected[column].tolist()
        assert [len(items) for items in found] == [len(items) for items in wanted]


def test_large_buckets_and_slices_change_nothing(
    log: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    config = config_of(raw(log, tmp_path / "tables"))
    assert [stage.pieces for stage in KuaiVideoSource(config).stages()] == [1, 1, 1]
    check_events(prepared(config, tmp_path / "days"), expected)


def test_days_are_equal_parts_and_times_keep_their_order(log: pd.DataFrame, tmp_path: Path) -> None:
    events = prepared(config_of(raw(log, tmp_path / "tables")), tmp_path / "days")
    ordered = np.sort(log["time"].to_numpy())
    assert (events["event_time"] // DAY_MS + 1).tolist() == events["day"].tolist()
    assert (np.diff(events["event_time"]) > 0).tolist() == (np.diff(ordered) > 0).tolist()
    largest_tie = int(log["time"].value_counts().max())
    assert (events["day"].value_counts() - len(log) / 4).abs().max() <= largest_tie


def test_times_within_day() -> None:
    times = np.array([100.0, 150.0, 150.0, 199.0, 200.0])
    assert times_within_day(times, 2, 100.0, 200.0).tolist() == [
        DAY_MS,
        DAY_MS + 43_199_999,
        DAY_MS + 43_199_999,
        DAY_MS + 85_535_999,
        2 * DAY_MS - 1,
    ]
    assert times_within_day(np.array([5.0]), 1, 5.0, 5.0).tolist() == [0]


def test_published_lists_are_those_of_the_file(log: pd.DataFrame, tmp_path: Path) -> None:
    config = config_of(x1(log, tmp_path / "tables"), histories="published")
    events = prepared(config, tmp_path / "days")
    ordered = log.sort_values("time", kind="stable")
    for user in (2, 8):
        rows = events[events["user_id"] == user]
        for column, click in (("pos_items", 1), ("neg_items", 0)):
            chosen = ordered[(ordered["user_id"] == user) & (ordered["click"] == click)]
            assert histories(rows, column) == [chosen["item_id"][:LISTED].tolist()] * len(rows)
    assert histories(events[events["user_id"] == 8], "pos_items")[0] == []


def test_without_histories(log: pd.DataFrame, tmp_path: Path) -> None:
    config = config_of(raw(log, tmp_path / "tables"), histories="none", tasks=("like",))
    events = prepared(config, tmp_path / "days")
    assert [name for name in events if name.startswith(("label", "pos", "neg"))] == ["label_like"]
    assert events["label_like"].sum() == log["like"].sum()


def altered_after(log: pd.DataFrame, time: int) -> pd.DataFrame:
    """Rows from a time on: other users, items, labels and order; all from before stay as they are."""
    past, future = log[log["time"] < time], log[log["time"] >= time]
    future = future.assign(
        item_id=future["item_id"] + 7, click=1 - future["click"], user_id=future["user_id"].to_numpy()[::-1]
    )
    return pd.concat([future.sample(frac=1, random_state=1), past], ignore_index=True)


@pytest.mark.parametrize("histories", ["past", "published"])
def test_what_is_known_of_the_days_to_come(log: pd.DataFrame, tmp_path: Path, histories: str) -> None:
    time = FIRST_TIME + 40_000 * 125
    assert 250 < (log["time"] < time).sum() < 350
    # published lists that are not full yet take in what comes later
    short = log if histories == "past" else log[log["item_id"] % 4 == 0]
    frames = []
    for name, content in (("told", short), ("untold", altered_after(short, time))):
        events = prepared(config_of(x1(content, tmp_path / name), histories=histories), tmp_path / f"{name}_days")
        frames.append(events.iloc[: (short["time"] < time).sum()].drop(columns=["event_time", "day"]))
    told, untold = frames
    if histories == "past":
        pd.testing.assert_frame_equal(told, untold)
    else:
        lists = ["pos_items", "neg_items"]
        pd.testing.assert_frame_equal(told.drop(columns=lists), untold.drop(columns=lists))
        assert not told.equals(untold)


def test_exact_copies_are_dropped_and_counted(log: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path) -> None:
    copies = pd.concat([log, log.iloc[[5, 5, 100]]], ignore_index=True)
    near = log.iloc[[7]].assign(like=1 - log["like"].iloc[7])
    out = tmp_path / "days"
    list(prepare_log(config_of(raw(copies, tmp_path / "tables")), Location.of(str(out))))
    assert json.loads((out / "summary.json").read_text())["duplicates_dropped"] == 3
    check_events(prepared(config_of(tmp_path / "tables"), tmp_path / "again"), expected)
    events = prepared(config_of(raw(pd.concat([log, near]), tmp_path / "near")), tmp_path / "near_days")
    assert len(events) == len(log) + 1


def test_summary(log: pd.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "days"
    lines = list(prepare_log(config_of(x1(log, tmp_path / "tables"), histories="published"), Location.of(str(out))))
    told = json.loads((out / "summary.json").read_text())
    assert told["rows"] == sum(told["rows_per_day"]) == len(log)
    assert told["rates"] == pytest.approx({task: log[task].mean() for task in ("click", "like", "follow")})
    assert (told["users"], told["items"]) == (5, log["item_id"].nunique())
    assert "know the days to come" in told["histories"]
    assert "visual embeddings" in told["left_out"]
    assert lines[-1] == f"prepared 4 days, {len(log)} rows: {out}"
    assert not (out / "work").exists()


def test_tables_have_the_published_sizes(log: pd.DataFrame, tmp_path: Path) -> None:
    places = {"raw": raw(log, tmp_path / "raw"), "x1": x1(log, tmp_path / "x1")}
    rows = {name: [f.rows for f in raw_log(config_of(path)).schema().features] for name, path in places.items()}
    assert rows == {"raw": [37_821, 632_406, 0, 0], "x1": [10_002, 632_406, 0, 0]}
    assert raw_log(config_of(places["x1"], user_rows=7)).schema().features[0].rows == 7


def replaced(name: str, line: int, column: int, value: str, delimiter: str = "\t") -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        lines = (path / name).read_text().splitlines()
        fields = lines[line - 1].split(delimiter)
        fields[column] = value
        lines[line - 1] = delimiter.join(fields)
        (path / name).write_text("\n".join(lines) + "\n", encoding="latin-1")

    return spoil


def rewritten(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes(change((path / name).read_bytes()))


def packed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        (path / f"{name}.gz").write_bytes(change((path / name).read_bytes()))
        (path / name).unlink()

    return spoil


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (replaced(RAW, 300, 2, "2"), (RAW, "line 300, column click", "'2'", "0 or 1")),
        (replaced(RAW, 300, 3, "yes"), (RAW, "line 300, column like", "'yes'", "a number")),
        (replaced(RAW, 300, 4, ""), (RAW, "line 300, column follow", "nothing")),
        (replaced(RAW, 300, 0, "u7"), (RAW, "line 300, column user_id", "'u7'")),
        (replaced(RAW, 300, 1, "6.5"), (RAW, "line 300, column photo_id", "'6.5'", "a whole number up to 2^53")),
        (replaced(RAW, 300, 1, "1e300"), (RAW, "line 300, column photo_id", "'1e300'", "a whole number up to 2^53")),
        (replaced(RAW, 300, 5, "-3"), (RAW, "line 300, column time", "'-3'", "from 0 to 2^53")),
        (replaced(RAW, 300, 5, "nan"), (RAW, "line 300, column time", "'nan'")),
        (replaced(RAW, 300, 1, "\xe9"), (RAW, "line 300, column photo_id")),
        (rewritten(RAW, lambda text: text.replace(b"\t", b",")), (RAW, "line 1", "expected 8 separated by tabs")),
        (rewritten(RAW, lambda text: text[:-12]), (RAW, "line ", "the file is cut off")),
        (rewritten(RAW, lambda text: b""), (RAW, "no rows")),
        (packed(RAW, lambda text: text), (f"{RAW}.gz", "no intact gzip")),
        (packed(RAW, lambda text: gzip.compress(text)[:-300]), (f"{RAW}.gz", "no intact gzip")),
    ],
)
def test_wrong_raw_files_are_told(
    log: pd.DataFrame, tmp_path: Path, spoil: Callable[[Path], object], parts: tuple[str, ...]
) -> None:
    path = raw(log, tmp_path / "tables")
    spoil(path)
    check_told(config_of(path), tmp_path / "days", parts)


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (replaced(TRAIN, 1, 0, "time", ","), (TRAIN, "line 1", "expected a column timestamp")),
        (replaced(TEST, 1, 4, "is_click", ","), (TEST, "line 1", "is_click twice")),
        (rewritten(TEST, lambda text: text.replace(b",", b";")), (TEST, "line 1", "semicolons", "commas")),
        (replaced(TEST, 30, 3, "0.5", ","), (TEST, "line 30, column is_click", "'0.5'")),
        (replaced(TRAIN, 30, 6, "1^x^2", ","), (TRAIN, "line 30, column pos_items", "'1^x^2'", "ids joined by ^")),
        (replaced(TRAIN, 30, 7, "1^^2", ","), (TRAIN, "line 30, column neg_items", "'1^^2'", "ids joined by ^")),
        (rewritten(TEST, lambda text: text.splitlines(keepends=True)[0]), (TEST, "no rows")),
    ],
)
def test_wrong_x1_files_are_told(
    log: pd.DataFrame, tmp_path: Path, spoil: Callable[[Path], object], parts: tuple[str, ...]
) -> None:
    path = x1(log, tmp_path / "tables")
    spoil(path)
    check_told(config_of(path, histories="published"), tmp_path / "days", parts)


def check_told(config: KuaiVideoData, out: Path, parts: Sequence[str]) -> None:
    with pytest.raises(UserError) as error:
        list(prepare_log(config, Location.of(str(out))))
    assert "\n" not in str(error.value)
    for part in ("data.path", *parts):
        assert part in str(error.value)
    assert committed_days(Location.of(str(out))) == []


def test_wrong_paths_and_fields_are_told(log: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (x1(log, tmp_path / "partial") / TEST).unlink()
    (raw(log, tmp_path / "both") / TRAIN).write_text("x")
    raw(log, tmp_path / "raw")
    for name, part in {
        "absent": "does not exist",
        "file": "is a file",
        "empty": "lacks train.csv and test.csv",
        "partial": "lacks test.csv",
        "both": "holds both",
    }.items():
        with pytest.raises(UserError, match=part) as error:
            raw_log(config_of(tmp_path / name))
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"data.histories: 'published', but .* has no lists"):
        raw_log(config_of(tmp_path / "raw", histories="published"))
    with pytest.raises(ValidationError, match="names must differ"):
        config_of(tmp_path, tasks=("click", "click"))
    with pytest.raises(UserError, match=r"data.days: 900"):
        prepared(config_of(tmp_path / "raw", days=900), tmp_path / "days")


def test_the_command_tells_a_mistake_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "train.csv").write_text("a,b\n1,2\n")
    command = ["prepare", "kuaivideo", str(tmp_path / "tables"), "--out", str(tmp_path / "days")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert result.stderr.startswith("exfm: data.path: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "days").exists()
    wrong = CliRunner().invoke(app, [*command, "--set", "day=3"])
    assert wrong.stderr == "exfm: data.day: there is no such field; did you mean 'days'?\n"


def test_killed_in_a_stage_it_goes_on(log: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path) -> None:
    path, out = raw(log, tmp_path / "tables"), tmp_path / "days"
    made: list[int] = []

    def spread(function: Callable[[int], Any], arguments: Sequence[int]) -> Iterator[Any]:
        for argument in arguments:
            if len(made) == 5:
                raise KeyboardInterrupt
            made.append(argument)
            yield function(argument)

    with pytest.raises(KeyboardInterrupt):
        prepare(raw_log(config_of(path)), Location.of(str(out)), spread=spread)
    before = {place: place.stat().st_mtime_ns for place in (out / "work").rglob("manifest.json")}
    assert len(before) == 5
    check_events(prepared(config_of(path), out), expected)
    assert {place: place.stat().st_mtime_ns for place in before} == before


def test_travels_to_another_process_and_directory(
    log: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raw(log, tmp_path / "tables")
    prepare(raw_log(config_of(path)), Location.of(str(tmp_path / "days")))
    monkeypatch.chdir(tmp_path)
    source = KuaiVideoSource(config_of(Path("tables"))).over(Location.of("days/work"))
    pickled = pickle.dumps(source)
    monkeypatch.chdir("/")
    assert len(pickled) < 5_000
    assert pickle.loads(pickled).part(2, 0) == source.part(2, 0)
