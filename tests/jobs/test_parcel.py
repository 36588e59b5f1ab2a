"""What is sent to a cluster, and what comes back."""

import json
import sqlite3
from pathlib import Path

import pytest

import exfm_ray
from exfm_ray.config import Recipe
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import DataError, UserError
from exfm_ray.jobs import parcel as parcel_module
from exfm_ray.jobs.fetching import received
from exfm_ray.jobs.parcel import RECIPE_FILE, parcel
from exfm_ray.jobs.sending import database, lines
from exfm_ray.recipe import read_any_recipe, read_recipe_or_study, read_study

PACKAGE = Path(exfm_ray.__file__).parent


def test_the_package_and_the_recipe_travel_and_nothing_else(small_recipe: Recipe) -> None:
    with parcel(small_recipe) as directory:
        sent = {file.relative_to(directory) for file in directory.rglob("*") if file.is_file()}
        assert read_any_recipe(str(directory / RECIPE_FILE)) == small_recipe
        text = {file: (directory / file).read_bytes() for file in sent - {Path(RECIPE_FILE)}}
    assert all(content == (PACKAGE.parent / file).read_bytes() for file, content in text.items())
    needed = {file.relative_to(PACKAGE.parent) for file in PACKAGE.rglob("*") if file.is_file()}
    assert needed - sent == {file for file in needed if "__pycache__" in file.parts}
    assert not directory.exists()


@pytest.mark.parametrize("name", ["figure10", "figure11", "figure12"])
def test_a_study_travels_whole(name: str) -> None:
    study = read_study(str(PACKAGE.parent / f"tuning/{name}.yaml"))
    with parcel(study) as directory:
        assert read_recipe_or_study(str(directory / RECIPE_FILE)) == study


def test_a_database_is_sent_as_it_is_after_its_last_transaction(tmp_path: Path) -> None:
    place = tmp_path / "study.db"
    writer = sqlite3.connect(place)
    writer.execute("create table trials (number integer)")
    writer.execute("insert into trials values (1)")
    writer.commit()
    writer.execute("insert into trials values (2)")  # of a transaction that is under way
    (tmp_path / "sent.db").write_bytes(database(Location(str(place))))
    writer.close()
    assert sqlite3.connect(tmp_path / "sent.db").execute("select number from trials").fetchall() == [(1,)]


def test_too_much_is_not_sent(small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel_module, "MOST_BYTES", 1_000)
    with pytest.raises(UserError, match="1,000 are allowed"), parcel(small_recipe):
        pass


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(Location.of(str(tmp_path / "run")))
    run.results_file.write(b'{"vm": "first"}\n')
    run.report_file.write("<html>é</html>".encode())
    return run


def test_files_come_back_as_they_were_among_what_else_is_printed(run: RunDirectory) -> None:
    output = "\n".join(["Running entrypoint …", *lines(run), "done"])
    assert received(output) == {"results.jsonl": b'{"vm": "first"}\n', "report/index.html": "<html>é</html>".encode()}


def test_what_was_torn_or_swapped_is_not_taken(run: RunDirectory) -> None:
    first, second = lines(run)
    with pytest.raises(DataError, match="torn"):
        received(first[:-10])
    swapped = json.loads(first) | {"content": json.loads(second)["content"]}
    with pytest.raises(DataError, match="did not arrive as it was sent"):
        received(json.dumps(swapped))
    outside = json.loads(first) | {"exfm_file": "../../.bashrc"}
    with pytest.raises(DataError, match="none of"):
        received(json.dumps(outside))
