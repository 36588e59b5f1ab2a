"""What the report says of vocabularies, beside counts made by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from exfm_ray.config import Recipe
from exfm_ray.data.counting import count_days
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.report.results import read_results
from exfm_ray.report.vocabulary import vocabulary_sentence
from tests.conftest import claimed
from tests.report.test_report import a_line
from tests.test_vocabulary_run import DAYS, MIN_COUNT, day_table, recipe_content, schema, seen, write_days

TABLES = {day: day_table(day) for day in range(1, DAYS + 1)}


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_days(tmp_path_factory.mktemp("raw") / "days", schema(), TABLES)


def told(days: Path, out: Path, vocabulary: dict[str, Any] | None) -> str:
    """Of a run whose ids are counted, and whose VM was evaluated on days 4 and 5."""
    count_days(claimed(Recipe.model_validate(recipe_content(days, vocabulary)), out))
    (out / "results.jsonl").write_text(
        "".join(json.dumps(a_line("only", "none", 0, day, 0.9)) + "\n" for day in (4, 5))
    )
    return sentence_of(out) or ""


def sentence_of(out: Path) -> str | None:
    run = RunDirectory(Location.of(str(out)))
    return vocabulary_sentence(run, read_results(run))


def known_by_hand(through: int, name: str, least: int = MIN_COUNT) -> tuple[set[int], int]:
    """Ids with a row after some days, and how many there are in all."""
    counts = seen([TABLES[day] for day in range(1, through + 1)])[name]
    return {value for value, count in counts.items() if count >= least}, len(counts)


def unknown_by_hand(name: str, known: dict[int, set[int]]) -> str:
    """In percent of the rows of the evaluated days, each beside what was known for it."""
    values = [(value, day) for day in (4, 5) for value in TABLES[day][name].to_pylist()]
    return f"{100 * sum(value not in known[day] for value, day in values) / len(values):.1f} % ({name})"


def test_counted_ids(days: Path, tmp_path: Path) -> None:
    (users, all_users), (items, all_items) = (known_by_hand(2, name) for name in ("user", "item"))
    shares = [unknown_by_hand(name, {4: known, 5: known}) for name, known in (("user", users), ("item", items))]
    assert told(days, tmp_path / "run", {"min_count": MIN_COUNT}) == (
        f"An id seen 3 times or more in days 1 to 2 has a row of its own, which holds for {len(users)} of {all_users} "
        f"ids (user) and {len(items)} of {all_items} ids (item); all others of a feature share one; of the first "
        f"65,536 rows of each evaluated day, {shares[0]} and {shares[1]} have an id of these others."
    )


def test_other_counts_of_a_feature_and_features_that_stay_hashed(days: Path, tmp_path: Path) -> None:
    users, all_users = known_by_hand(1, "user", 2)
    one = told(days, tmp_path / "one", {"min_counts": {"user": 2}, "hashed": ["item"], "through_day": 1})
    assert (
        f"An id seen 2 times or more in day 1 has a row of its own, which holds for {len(users)} of {all_users}" in one
    )
    assert "a feature share one, and item is hashed to rows of a table of fixed size; of the first" in one
    two = told(days, tmp_path / "two", {"min_count": MIN_COUNT, "min_counts": {"user": 2}})
    assert "An id seen often enough in days 1 to 2" in two
    assert " ids (user, 2 times or more) and " in two


def test_growing_vocabularies(days: Path, tmp_path: Path) -> None:
    """A VM that is evaluated on day 5 was trained on day 4, with what days 1 to 3 know."""
    last = {name: known_by_hand(3, name) for name in ("user", "item")}
    shares = [unknown_by_hand(name, {4: known_by_hand(2, name)[0], 5: known_by_hand(3, name)[0]}) for name in last]
    numbers = [f"{len(known)} of {count} ids ({name})" for name, (known, count) in last.items()]
    assert told(days, tmp_path / "run", {"min_count": MIN_COUNT, "grow": True}) == (
        "Vocabularies grow: an id seen 3 times or more by the end of a day has a row of its own from the next day on, "
        f"by day 3 {numbers[0]} and {numbers[1]}; all others of a feature share one; of the first 65,536 rows of each "
        f"evaluated day, {shares[0]} and {shares[1]} have an id of these others."
    )


def test_what_is_gone_is_not_told(tmp_path: Path) -> None:
    days = write_days(tmp_path / "days", schema(), TABLES)
    assert "of the first" in told(days, tmp_path / "run", {"min_count": MIN_COUNT})
    (days / "day=005" / "manifest.json").unlink()
    assert (sentence_of(tmp_path / "run") or "").endswith("(item); all others of a feature share one.")
    (tmp_path / "run" / "vocabulary" / "day=002" / "manifest.json").unlink()
    assert sentence_of(tmp_path / "run") is None


def test_hashed_ids(days: Path, tmp_path: Path) -> None:
    assert told(days, tmp_path / "run", None) == (
        "No ids were counted: user (5,000 rows) and item (5,000 rows) are hashed to rows of tables of fixed size, "
        "shared by ids."
    )
    rows = {day: table.slice(0, 0) for day, table in TABLES.items()}
    identity = write_days(tmp_path / "days", schema("identity"), rows)
    assert told(identity, tmp_path / "other", None) == (
        "Ids are rows of their tables as they are: none was counted or hashed."
    )
