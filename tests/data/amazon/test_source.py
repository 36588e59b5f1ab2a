import gzip
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.cluster import task_cluster
from exfm_ray.config import AmazonData
from exfm_ray.data.amazon import stages
from exfm_ray.data.amazon.files import MISSING_CATEGORY
from exfm_ray.data.amazon.source import AmazonSource
from exfm_ray.data.dataset import raw_log
from exfm_ray.data.hashing import text_id
from exfm_ray.data.location import Location
from exfm_ray.data.logs import time_slices, user_buckets
from exfm_ray.data.partitions import arrow_schema, committed_days, read_rows, read_schema
from exfm_ray.data.prepare import prepare
from exfm_ray.errors import UserError
from exfm_ray.prepare_log import prepare_log

DAY_SECONDS = 86_400
FIRST_DAY = 15_000
"""since the epoch: in January 2011"""
WITHOUT_META = "B0NOMETA01"


@dataclass(frozen=True)
class World:
    """Small files of the official form."""

    reviews: list[dict[str, Any]]
    metas: list[dict[str, Any]]

    def write(self, directory: Path, ending: str = "") -> Path:
        directory.mkdir(parents=True)
        write = gzip.compress if ending else bytes
        reviews = "".join(json.dumps(review) + "\n" for review in self.reviews)
        metas = "".join(repr(meta) + "\n" for meta in self.metas)
        (directory / f"reviews_Electronics_5.json{ending}").write_bytes(write(reviews.encode()))
        (directory / f"meta_Electronics.json{ending}").write_bytes(write(metas.encode()))
        return directory


def item_name(item: int) -> str:
    return WITHOUT_META if item == 39 else f"{item:010d}"


def review(user: str, item: int, day: int, line: int = 0) -> dict[str, Any]:
    made = {
        "reviewerID": user,
        "asin": item_name(item),
        "reviewerName": f"Jörg “{user}” Doe",
        "helpful": [0, line],
        "reviewText": 'It\'s "good"\nand {cheap}: 5\\5',
        "overall": 5.0,
        "summary": "Gotta have GPS!",
        "unixReviewTime": (FIRST_DAY + day) * DAY_SECONDS,
        "reviewTime": "06 2, 2013",
    }
    if line % 7 == 0:
        del made["reviewerName"]
    return made


def meta(item: int) -> dict[str, Any]:
    groups = [["Electronics", f"Group {item % 3}"], ["Electronics", "Cables & 'odd' \"names\"", f"Kind {item % 5}"]]
    made: dict[str, Any] = {"asin": item_name(item), "title": "It's a \"cable\", isn't it?", "price": None}
    made |= {"categories": groups, "related": {"also_bought": [item_name(item + 1)]}, "salesRank": {}}
    return made


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(3)
    lines = [
        review(f"A{user}", int(rng.integers(40)), int(rng.integers(30)), line)
        for line, user in enumerate(rng.integers(0, 25, 400).tolist())
    ]
    lines += [review("A1", 5, 3), review("A1", 6, 3), review("A1", 7, 3), review("A1", 5, 20)]  # ties, and one again
    lines += [lines[10], lines[10], lines[200], review("LONELY", 1, 4)]
    metas = [meta(item) for item in [*range(39), *range(100, 150)]]  # those from 100 are never reviewed
    metas[3] = {"categories": metas[3]["categories"], "asin": metas[3]["asin"]}  # the asin last
    metas[4] = {"asin": item_name(4), "categories": [[]]}
    metas[5] = {"asin": item_name(5)}
    metas.append({"asin": item_name(6), "categories": [["Another"]]})  # of two lines the first counts
    return World(lines, metas)


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Several buckets, files and slices though the log is small."""
    patch.setattr(user_buckets, "BYTES_PER_BUCKET", 30_000)
    patch.setattr(stages, "REVIEWS_PER_FILE", 150)
    patch.setattr(stages, "RANGE_BYTES", 60_000)
    patch.setattr(time_slices, "ROWS_PER_SLICE", 60)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def config_of(path: Path, **fields: Any) -> AmazonData:
    return AmazonData(path=str(path), **{"days": 4, "user_rows": 100, **fields})


def prepared(config: AmazonData, out: Path) -> pd.DataFrame:
    dataset = Location.of(str(out))
    prepare(raw_log(config), dataset)
    return read_days(dataset)


def read_days(dataset: Location) -> pd.DataFrame:
    """All events of all days, in order."""
    days = []
    for day in committed_days(dataset):
        tables = read_rows(dataset.day(day), arrow_schema(read_schema(dataset)).names)
        days.append(pa.concat_tables(tables).to_pandas().assign(day=day))
    return pd.concat(days, ignore_index=True)


def prepared_world(world: World, directory: Path, **fields: Any) -> pd.DataFrame:
    return prepared(config_of(world.write(directory / "tables"), **fields), directory / "days")


def categories(world: World) -> dict[int, int]:
    """Plainly: the last name of the last list of the first line of each item."""
    found: dict[int, int] = {}
    for line in world.metas:
        names = line.get("categories", [[]])[-1]
        found.setdefault(text_id(line["asin"]), text_id(names[-1]) if names else MISSING_CATEGORY)
    return found


def plain_positives(world: World, length: int) -> list[tuple[int, int, int, list[int]]]:
    """(time, user, item, history) of each review but a user's first, by the scheme in plain Python."""
    seen, of_users = set(), dict[str, list[tuple[int, str]]]()
    for line in world.reviews:
        entry = (line["reviewerID"], line["unixReviewTime"], line["asin"])
        if entry not in seen:
            of_users.setdefault(entry[0], []).append(entry[1:])
        seen.add(entry)
    made = []
    for user, entries in of_users.items():
        entries.sort(key=lambda entry: entry[0])  # stable: the order of the file stays
        items = [text_id(item) for _, item in entries]
        for place in range(1, len(entries)):
            past = items[max(0, place - length) : place]
            made.append((entries[place][0] * 1_000, text_id(user), items[place], past))
    return made


def histories(events: pd.DataFrame, column: str) -> list[list[int]]:
    return [values.tolist() for values in events[column]]


@pytest.fixture(scope="module")
def events(world: World, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        return prepared_world(world, tmp_path_factory.mktemp("amazon"))


@pytest.mark.parametrize("length", [100, 3])
def test_positives_and_histories_are_those_of_the_scheme(world: World, tmp_path: Path, length: int) -> None:
    events = prepared_world(world, tmp_path, history_length=length)
    positives = events[events["label_review"] == 1]
    found = zip(
        positives["event_time"],
        positives["user_id"],
        positives["item_id"],
        histories(positives, "item_history"),
        strict=True,
    )
    assert sorted(found) == sorted(plain_positives(world, length))


def test_events_stand_in_the_order_of_time_and_each_positive_before_its_negative(events: pd.DataFrame) -> None:
    assert events["event_id"].tolist() == list(range(len(events)))
    assert events["event_time"].is_monotonic_increasing
    assert events["label_review"].tolist() == [1, 0] * (len(events) // 2)
    positives, negatives = events[::2].reset_index(), events[1::2].reset_index()
    same = ["event_time", "user_id", "item_history", "cate_history", "day"]
    pd.testing.assert_frame_equal(positives[same], negatives[same])
    first_of_date = events.sort_values(["event_time", "user_id"], kind="stable")
    assert first_of_date["event_id"].is_monotonic_increasing


def test_categories_are_the_last_of_the_last_list(world: World, events: pd.DataFrame) -> None:
    known = categories(world)
    of_item = lambda items: [known.get(item, MISSING_CATEGORY) for item in items]  # noqa: E731
    assert events["cate_id"].tolist() == of_item(events["item_id"])
    assert histories(events, "cate_history") == [of_item(items) for items in histories(events, "item_history")]
    assert (events["cate_id"] == MISSING_CATEGORY).any()
    assert text_id("Kind 1") in set(events["cate_id"])
    assert text_id("Another") not in set(events["cate_id"])


def test_negatives_are_never_reviewed_by_their_user(world: World, events: pd.DataFrame) -> None:
    reviewed = {(text_id(line["reviewerID"]), text_id(line["asin"])) for line in world.reviews}
    negatives = events[events["label_review"] == 0]
    drawn = set(zip(negatives["user_id"], negatives["item_id"], strict=True))
    assert len(drawn) > 100
    assert not drawn & reviewed
    assert set(negatives["item_id"]) <= {item for _, item in reviewed}


def test_negatives_not_yet_reviewed_are_known_items_that_the_user_has_not_reviewed(
    world: World, tmp_path: Path
) -> None:
    events = prepared_world(world, tmp_path, negatives="not_yet_reviewed", history_length=500)
    known_since: dict[int, int] = {}
    for line in world.reviews:
        item, time = text_id(line["asin"]), line["unixReviewTime"] * 1_000
        known_since[item] = min(time, known_since.get(item, time))
    later = 0
    all_positives = {(user, item) for _, user, item, _ in plain_positives(world, 500)}
    partner: dict[tuple[int, int], int] = {}
    for event in events.itertuples():
        if event.label_review:
            partner[event.user_id, event.event_time] = event.item_id
            continue
        assert known_since[event.item_id] <= event.event_time
        assert event.item_id not in event.item_history
        assert event.item_id != partner[event.user_id, event.event_time]
        later += (event.user_id, event.item_id) in all_positives
    assert later > 0  # what is reviewed later may be drawn, since nobody knows it yet


def test_the_seed_decides_about_the_negatives_and_nothing_else(
    world: World, tmp_path: Path, events: pd.DataFrame
) -> None:
    again = prepared_world(world, tmp_path / "again")
    other = prepared_world(world, tmp_path / "other", seed=1)
    pd.testing.assert_frame_equal(again, events)
    positives, negatives = events["label_review"] == 1, events["label_review"] == 0
    pd.testing.assert_frame_equal(other[positives], events[positives])
    changed = (other["item_id"] != events["item_id"])[negatives]
    assert changed.mean() > 0.8


def test_gzip_buckets_and_slices_change_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: pd.DataFrame
) -> None:
    config = config_of(world.write(tmp_path / "tables", ".gz"))
    monkeypatch.setattr(user_buckets, "BYTES_PER_BUCKET", 2_000)
    assert AmazonSource(config).stages()[3].pieces > 1
    monkeypatch.undo()
    assert AmazonSource(config).stages()[3].pieces == 1
    pd.testing.assert_frame_equal(prepared(config, tmp_path / "days"), events)


def test_ranges_without_reviewed_items_change_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: pd.DataFrame
) -> None:
    monkeypatch.setattr(stages, "RANGE_BYTES", 6_000)
    config = config_of(world.write(tmp_path / "tables"))
    reviews, _, metas, *_ = AmazonSource(config).stages()
    assert (reviews.pieces > 10, metas.pieces > 3) == (True, True)
    pd.testing.assert_frame_equal(prepared(config, tmp_path / "days"), events)


def altered_after(world: World, second: int) -> World:
    """Reviews from a date on: other users, items and order, and new items and users; and other metas of new items."""
    past = [line for line in world.reviews if line["unixReviewTime"] < second]
    future = [line for line in world.reviews if line["unixReviewTime"] >= second]
    changed = [
        line | {"asin": f"N{place % 9:09d}", "reviewerID": f"A{place % 40}"} for place, line in enumerate(future)
    ]
    return World([*changed[::-1], *past], world.metas)


@pytest.mark.parametrize("negatives", ["not_yet_reviewed", "never_reviewed"])
def test_what_is_known_of_the_days_to_come(world: World, tmp_path: Path, negatives: str) -> None:
    second = (FIRST_DAY + 16) * DAY_SECONDS
    frames = []
    for name, content in (("told", world), ("untold", altered_after(world, second))):
        events = prepared_world(content, tmp_path / name, negatives=negatives)
        before = events[events["event_time"] < second * 1_000]
        frames.append(before.drop(columns=["day"]).reset_index(drop=True))
    told, untold = frames
    assert len(told) > 300
    if negatives == "not_yet_reviewed":
        pd.testing.assert_frame_equal(told, untold)
    else:  # the published scheme leaks, and says so
        positives = told["label_review"] == 1
        pd.testing.assert_frame_equal(told[positives], untold[positives])
        assert not told.equals(untold)


def test_days_hold_equal_numbers_as_far_as_dates_allow(events: pd.DataFrame) -> None:
    dates = events["event_time"] // (DAY_SECONDS * 1_000)
    assert events.groupby(dates)["day"].nunique().max() == 1
    largest_date = int(dates.value_counts().max())
    assert (events["day"].value_counts() - len(events) / 4).abs().max() <= largest_date
    assert sorted(set(events["day"])) == [1, 2, 3, 4]


def test_summary(world: World, tmp_path: Path) -> None:
    out = tmp_path / "days"
    lines = list(prepare_log(config_of(world.write(tmp_path / "tables")), Location.of(str(out))))
    told = json.loads((out / "summary.json").read_text())
    copies = len(world.reviews) - len({(r["reviewerID"], r["asin"], r["unixReviewTime"]) for r in world.reviews})
    assert told["rows"] == sum(told["rows_per_day"]) == 2 * (len(world.reviews) - copies - 26)
    assert told["dates_per_day"][0].startswith("2011-01-26 to ")
    assert told["reviews"] == len(world.reviews)
    assert told["rates"] == {"review": 0.5}
    assert (told["users"], told["items"], told["items_without_category"]) == (26, 40, 3)
    assert (told["duplicates_dropped"], told["users_with_one_review_dropped"]) == (copies, 1)
    assert told["categories"] == 5
    assert "know the days to come" in told["negatives"]
    assert lines[-1] == f"prepared 4 days, {told['rows']} rows: {out}"
    assert not (out / "work").exists()


def test_a_user_who_reviewed_all_there_is_gets_no_negative(tmp_path: Path) -> None:
    lines = [review("A", item, item) for item in range(4)] + [review("B", 0, 1), review("B", 1, 9)]
    out = tmp_path / "days"
    events = prepared(config_of(World(lines, [meta(1)]).write(tmp_path / "tables"), days=3), out)
    assert events[events["user_id"] == text_id("A")]["label_review"].tolist() == [1, 1, 1]
    assert events[events["user_id"] == text_id("B")]["label_review"].tolist() == [1, 0]


def test_texts_that_are_no_unicode_are_ids_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        review(user, item, day) for user in ("A\ud800", "A\udfff") for item, day in ((1, 1), (2, 4), (3, 9), (4, 12))
    ]
    world = World(lines, [meta(1) | {"categories": [["\ud800"]]}])
    path = world.write(tmp_path / "tables")
    (path / META).write_text(
        (path / META).read_text() + "{'asin': '0000000002', 'title': '\\/', 'categories': [['x']]}\n"
    )
    events = prepared(config_of(path, days=3), tmp_path / "days")
    assert events["user_id"].nunique() == 2
    assert events.loc[events["item_id"] == text_id(item_name(2)), "cate_id"].unique().tolist() == [text_id("x")]
    assert capsys.readouterr().err == ""


def reviews_line(line: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        place = path / "reviews_Electronics_5.json"
        lines = place.read_bytes().splitlines(keepends=True)
        lines[2] = line.encode("latin-1") + b"\n"
        place.write_bytes(b"".join(lines))

    return spoil


def meta_line(line: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        place = path / "meta_Electronics.json"
        lines = place.read_text().splitlines(keepends=True)
        place.write_text("".join([*lines[:2], line + "\n", *lines[2:]]))

    return spoil


def cut(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-20])


def with_field(**fields: Any) -> str:
    return json.dumps(review("A1", 1, 1) | fields)


def no_gzip(path: Path) -> None:
    (path / "reviews_Electronics_5.json").rename(path / "reviews_Electronics_5.json.gz")


def cut_gzip(path: Path) -> None:
    content = (path / "reviews_Electronics_5.json").read_bytes()
    (path / "reviews_Electronics_5.json").unlink()
    (path / "reviews_Electronics_5.json.gz").write_bytes(gzip.compress(content)[:-300])


REVIEWS, META = "reviews_Electronics_5.json", "meta_Electronics.json"
SPOILED = [
    (reviews_line("{'reviewerID': 'A1'}"), (REVIEWS, "line 3, column 2", "JSON")),
    (reviews_line("[1, 2]"), (REVIEWS, "line 3", "a JSON object")),
    (reviews_line(with_field(asin=None)), (REVIEWS, "line 3, asin", "None")),
    (reviews_line(with_field(reviewerID=7)), (REVIEWS, "line 3, reviewerID", "7")),
    (reviews_line(with_field(unixReviewTime="1370131200")), ("line 3, unixReviewTime", "1370131200", "1994 to 2099")),
    (reviews_line(with_field(unixReviewTime=-1)), ("line 3, unixReviewTime", "-1")),
    (reviews_line(with_field(unixReviewTime=1_370_131_200_000)), ("line 3, unixReviewTime", "1370131200000")),
    (reviews_line('{"reviewerID": "\xe9"}'), (REVIEWS, "line 3, column 17", "0xe9", "UTF-8")),
    (reviews_line("[" * 100_000), (REVIEWS, "line 3", "JSON")),
    (reviews_line('{"a": "' + "x" * 2**20), (REVIEWS, "line 3", "at most 1,048,576")),
    (cut(REVIEWS), (REVIEWS, "line 408", "JSON")),
    (no_gzip, (f"{REVIEWS}.gz", "no intact gzip")),
    (cut_gzip, (f"{REVIEWS}.gz", "no intact gzip", "ended before")),
    (meta_line("{'asin': '0000000001', 'title': }"), (META, "line 3, column", "Python literal")),
    (meta_line("{'asin': __import__('os').getcwd()}"), (META, "line 3", "Python literal")),
    (meta_line("['0000000001']"), (META, "line 3, column 1", "Python literal")),
    (meta_line("{'title': 'x'}"), (META, "line 3, asin", "None")),
    (meta_line("{'asin': '0000000001', 'categories': ['x']}"), (META, "line 3, categories", "list of lists")),
    (meta_line("(" * 5_000 + ")" * 5_000), (META, "line 3", "Python literal")),
    (meta_line("1+" * 100_000 + "1"), (META, "line 3", "Python literal")),
    (meta_line("-" * 100_000 + "1"), (META, "line 3", "Python literal")),
    (cut(META), (META, "line 90", "Python literal")),
]


@pytest.mark.parametrize(("spoil", "parts"), SPOILED)
def test_wrong_files_are_told_and_mended(
    world: World, tmp_path: Path, spoil: Callable[[Path], None], parts: tuple[str, ...]
) -> None:
    path, out = world.write(tmp_path / "tables"), Location.of(str(tmp_path / "days"))
    spoil(path)
    with pytest.raises(UserError) as error:
        list(prepare_log(config_of(path), out))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    for part in ("data.path", *parts):
        assert part in str(error.value)
    assert committed_days(out) == []


def test_a_mended_file_is_read_anew(world: World, tmp_path: Path, events: pd.DataFrame) -> None:
    path, out = world.write(tmp_path / "tables"), tmp_path / "days"
    whole = (path / META).read_bytes()
    reviews = (path / REVIEWS).read_bytes()
    (path / REVIEWS).write_bytes(reviews[: len(reviews) // 2].rsplit(b"\n", 1)[0] + b"\n")
    cut(META)(path)
    with pytest.raises(UserError, match="Python literal"):
        prepared(config_of(path), out)
    assert any((out / "work").rglob("reviews/*/manifest.json"))  # made of half of the reviews
    (path / REVIEWS).write_bytes(reviews)
    (path / META).write_bytes(whole)
    pd.testing.assert_frame_equal(prepared(config_of(path), out), events)


def test_wrong_paths_are_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    x1 = tmp_path / "x1"
    x1.mkdir()
    for name in ("train.csv", "test.csv"):
        (x1 / name).write_text("label,user_id,item_id,cate_id,item_history,cate_history\n1,1,2,3,4^5,6^7\n")
    (world.write(tmp_path / "partial") / META).unlink()
    (world.write(tmp_path / "void") / REVIEWS).write_text("")
    for name, part in {
        "file": "is a file",
        "absent": "does not exist",
        "empty": f"lacks {REVIEWS}",
        "partial": f"lacks {META}",
        "void": "is empty",
        "x1": f"a split by time needs the raw files: put {REVIEWS} and {META}",
    }.items():
        with pytest.raises(UserError) as error:
            raw_log(config_of(tmp_path / name))
        assert "\n" not in str(error.value)
        assert "data.path" in str(error.value)
        assert part in str(error.value)


def test_more_days_than_dates_are_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.days: 40, but 750 events at 30 distinct times"):
        prepared_world(world, tmp_path, days=40)


def test_the_command_tells_a_mistake_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "train.csv").write_text("a,b\n1,2\n")
    command = ["prepare", "amazon", str(tmp_path / "tables"), "--out", str(tmp_path / "days")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert result.stderr.startswith("exfm: data.path: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "days").exists()
    wrong = CliRunner().invoke(app, [*command, "--set", "day=3"])
    assert wrong.stderr == "exfm: data.day: there is no such field; did you mean 'days'?\n"


def test_killed_in_a_stage_it_goes_on(world: World, tmp_path: Path, events: pd.DataFrame) -> None:
    path, out = world.write(tmp_path / "tables"), tmp_path / "days"
    made: list[int] = []

    def spread(function: Callable[[int], Any], arguments: Sequence[int]) -> Iterator[Any]:
        for argument in arguments:
            if len(made) == 4:
                raise KeyboardInterrupt
            made.append(argument)
            yield function(argument)

    with pytest.raises(KeyboardInterrupt):
        prepare(raw_log(config_of(path)), Location.of(str(out)), spread=spread)
    before = {place: place.stat().st_mtime_ns for place in (out / "work").rglob("manifest.json")}
    assert len(before) == 4  # reviews, catalogue and two buckets of users
    pd.testing.assert_frame_equal(prepared(config_of(path), out), events)
    assert {place: place.stat().st_mtime_ns for place in before} == before


@pytest.mark.ray
@pytest.mark.slow
def test_over_processes_it_is_the_same_and_a_mistake_is_one_line(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: pd.DataFrame
) -> None:
    monkeypatch.undo()
    path, out = world.write(tmp_path / "tables"), Location.of(str(tmp_path / "days"))
    whole = (path / META).read_bytes()
    cut(META)(path)
    with task_cluster(None, tmp_path / "logs") as spread:
        with pytest.raises(UserError) as error:
            list(prepare_log(config_of(path), out, spread))
        assert str(error.value).startswith(f"data.path: {path / META}, line 90, column ")
        (path / META).write_bytes(whole)
        list(prepare_log(config_of(path), out, spread))
    pd.testing.assert_frame_equal(read_days(out), events)


def test_travels_to_another_process_and_directory(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.write(tmp_path / "tables")
    prepare(raw_log(config_of(path)), Location.of(str(tmp_path / "days")))
    monkeypatch.chdir(tmp_path)
    source = AmazonSource(config_of(Path("tables"))).over(Location.of("days/work"))
    pickled = pickle.dumps(source)
    monkeypatch.chdir("/")
    assert len(pickled) < 5_000
    assert pickle.loads(pickled).part(2, 0) == source.part(2, 0)
