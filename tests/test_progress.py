"""What a command shows of its progress, on a terminal and elsewhere."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import exfm_ray.progress
from exfm_ray.cli import app
from exfm_ray.data.location import Location
from exfm_ray.data.prepare import WORK, prepare
from exfm_ray.progress import Phase, day_phases, watching
from exfm_ray.waits import noted_wait
from tests.data.test_prepare import ScatteredSource, scatter


@pytest.fixture
def dataset(tmp_path: Path) -> Location:
    return Location.of(str(tmp_path / "days"))


def shown(dataset: Location, *, terminal: bool = False, deletes: bool = False) -> str:
    """What is shown of a preparation."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, color_system=None, width=200)
    with watching(day_phases(ScatteredSource(), dataset), console):
        prepare(ScatteredSource(), dataset)
        if deletes:
            (dataset / WORK).delete()
    return text.getvalue()


def last_lines(told: str) -> list[str]:
    """Of each phase in order; a slow machine tells more of them on the way."""
    lines = [line for line in told.splitlines() if line.endswith("s left")]
    return list({line.split(" ", 1)[1].partition(": ")[0]: line for line in lines}.values())


def test_stages_are_told_by_their_pieces_and_then_the_days(dataset: Location) -> None:
    first, second = last_lines(shown(dataset))
    assert re.fullmatch(r"[\d:]{8} stage 1 of 1 \(scatter\): 3/3 pieces, [\d,]+ rows/s, about 0 s left", first)
    assert re.fullmatch(r"[\d:]{8} prepare days: 1/1 days, [\d,]+ rows/s, about 0 s left", second)


def test_a_terminal_gets_bars(dataset: Location) -> None:
    told = shown(dataset, terminal=True)
    assert "━" in told
    assert re.search(r"stage 1 of 1 \(scatter\) +━+ 3/3 pieces +[\d,]+ rows/s", told)
    assert re.search(r"prepare days +━+ 1/1 days +[\d,]+ rows/s", told)


def test_stages_that_were_deleted_unseen_are_complete(dataset: Location) -> None:
    first, second = last_lines(shown(dataset, deletes=True))
    assert "stage 1 of 1 (scatter): 3/3 pieces, " in first
    assert "prepare days: 1/1 days" in second


def test_what_was_there_is_not_told_again(dataset: Location) -> None:
    shown(dataset)
    assert shown(dataset) == ""
    assert [phase.name for phase in day_phases(ScatteredSource(), dataset)] == ["prepare days"]


def test_only_what_this_command_made_counts_for_its_speed(dataset: Location) -> None:
    scatter(dataset / WORK, 1)
    stage, days = day_phases(ScatteredSource(), dataset)
    stage.begin()
    assert (len(stage.done), stage.before, stage.rows_per_second()) == (1, 1, 0.0)
    scatter(dataset / WORK, 0)
    assert stage.look()
    assert (len(stage.done), stage.is_complete, days.has_begun) == (2, False, False)
    assert stage.rows_per_second() > 0
    assert not stage.look()


def test_the_clock_of_a_phase_starts_when_the_one_before_is_complete(dataset: Location) -> None:
    stage, days = day_phases(ScatteredSource(), dataset)
    began = days.started
    assert not days.look()
    assert (waited := days.started) > began
    for piece in range(3):
        scatter(dataset / WORK, piece)
    stage.look()
    assert not days.look()
    assert days.started == waited


def test_pieces_far_ahead_are_not_looked_for() -> None:
    asked: list[str] = []
    phase = Phase("", "", [Location(f"/{place}") for place in range(9)], lambda place: asked.append(place.uri), None, 2)
    assert not phase.look()
    assert asked == ["/0", "/1"]


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_waited_for_is_told(dataset: Location, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exfm_ray.progress, "WORTH_TELLING_SECONDS", 0.0)
    monkeypatch.setattr(exfm_ray.progress, "WAITS_LINE_SECONDS", 0.0)
    with noted_wait("a worker for the FM"), noted_wait("nothing", lambda: True):
        told = shown(dataset, terminal=terminal)
    assert re.search(r"waits \d s for a worker for the FM", told)
    assert "nothing" not in told


def test_the_command_shows_it(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("ad,clicked,at\n" + "".join(f"{row % 7},{row % 2},{row}\n" for row in range(60)))
    (tmp_path / "schema.yaml").write_text(
        "time: {column: at, unit: s}\ndays: {count: 3, cut: equal_rows}\ntasks: {click: {label: clicked}}\n"
        "categorical: {ad: {rows: 10}}\n"
    )
    options = [str(tmp_path / "log.csv"), "--schema", str(tmp_path / "schema.yaml"), "--out", str(tmp_path / "days")]
    done = CliRunner().invoke(app, ["prepare", "csv", *options])
    assert done.exit_code == 0, done.output + done.stderr
    for line, what in zip(
        last_lines(done.output), ("scatter): 1/1 pieces", "plan): 1/1 pieces", "days: 3/3 days"), strict=True
    ):
        assert what in line
