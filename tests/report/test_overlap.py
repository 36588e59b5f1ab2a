"""Sessions, critical path, idle shares and their wording, of pieces whose every second is known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exfm_ray.config import Recipe
from exfm_ray.data.commit import Made, Stopwatch
from exfm_ray.data.location import Location
from exfm_ray.data.run_clock import (
    Command,
    Start,
    note_help,
    note_start,
    noted_command,
    read_commands,
    read_help,
    read_starts,
)
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.report.critical_path import critical_path
from exfm_ray.report.overlap import Overlap, covered, overlap
from exfm_ray.report.overlap_wording import bound_sentence, path_sentence, pause_sentence
from exfm_ray.report.sessions import Session, sessions
from exfm_ray.report.work import DayOfWork, StepKind, starts_of
from tests.conftest import small_content

FEED, REELS = "feed-ah-seed0", "reels-ah-seed0"


def a_piece(
    kind: StepKind, day: int, started: float, seconds: float, process: int = 1, who: str = "", **made: Any
) -> DayOfWork:
    return DayOfWork(
        kind, day, None, Made(host="box", process=process, started=started, seconds=seconds, cpus=2, **made), who
    )


def a_recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(small_content(**changes))


def of_one_command(*pieces: DayOfWork) -> list[Session]:
    return sessions([], pieces)


def named(pieces: tuple[DayOfWork, ...]) -> list[tuple[str, int]]:
    return [(piece.who or piece.kind, piece.day) for piece in pieces]


THREE_DAYS = (
    a_piece("start", 0, 0.0, 2.0, 1, "ray"),
    a_piece("start", 0, 2.0, 4.0, 2, "fm"),
    a_piece("start", 0, 2.0, 5.0, 3, "fleet"),
    a_piece("start", 0, 2.0, 1.0, 1, "serve"),
    a_piece("data", 1, 0.0, 1.0),
    a_piece("data", 2, 1.0, 1.0),
    a_piece("data", 3, 2.0, 1.0),
    a_piece("fm", 1, 6.0, 10.0, 2),
    a_piece("fm", 2, 16.0, 10.0, 2),
    a_piece("supervision", 2, 16.0, 3.0),
    a_piece("supervision", 3, 26.0, 3.0),
    a_piece("vm_training", 2, 19.0, 2.0, 3, FEED),
    a_piece("vm_training", 2, 21.0, 4.0, 3, REELS),
    a_piece("vm_evaluation", 3, 29.0, 1.0, 3, FEED),
    a_piece("vm_evaluation", 3, 30.0, 0.5, 3, REELS),
)
"""Ray 2, trainer 4, FM(1) 10, FM(2) 10, supervision of day 3 3, evaluation 1: 30 of 30.5 seconds."""


def test_the_path_goes_through_the_fm_where_that_is_the_slowest() -> None:
    path = critical_path(of_one_command(*THREE_DAYS), a_recipe())
    assert named(path.pieces) == [("ray", 0), ("fm", 0), ("fm", 1), ("fm", 2), ("supervision", 3), (FEED, 3)]
    assert path.seconds == 30.0


def test_the_path_goes_through_a_vm_that_is_slower_than_the_fm() -> None:
    slow = [replace(p, made=p.made.model_copy(update={"seconds": 20.0})) if p.who == REELS else p for p in THREE_DAYS]
    path = critical_path(of_one_command(*slow), a_recipe())
    assert named(path.pieces) == [("ray", 0), ("fm", 0), ("fm", 1), ("supervision", 2), (REELS, 2), (REELS, 3)]
    assert path.seconds == 2 + 4 + 10 + 3 + 20 + 20


def test_a_stale_fm_is_waited_for_less() -> None:
    pieces = (a_piece("fm", 1, 0.0, 5.0), a_piece("fm", 2, 5.0, 5.0), a_piece("supervision", 3, 5.0, 1.0))
    assert critical_path(of_one_command(*pieces), a_recipe()).seconds == 11.0
    stale = a_recipe(fm={"staleness_days": 1})
    assert critical_path(of_one_command(*pieces), stale).seconds == 10.0


def test_vocabularies_and_feedback_are_waited_for() -> None:
    recipe = a_recipe(vocabulary={"grow": True}, das={"feedback": {}})
    pieces = (
        a_piece("data", 1, 0.0, 1.0),
        a_piece("data", 2, 0.0, 1.0),
        a_piece("vocabulary", 1, 1.0, 7.0),
        a_piece("feedback", 2, 2.0, 3.0),
        a_piece("fm", 2, 10.0, 1.0),
    )
    path = critical_path(of_one_command(*pieces), recipe)
    assert [(p.kind, p.day) for p in path.pieces] == [("data", 1), ("vocabulary", 1), ("fm", 2)]
    without = [piece for piece in pieces if piece.kind != "vocabulary"]
    path = critical_path(of_one_command(*without), recipe)
    assert [(p.kind, p.day) for p in path.pieces] == [("data", 2), ("feedback", 2), ("fm", 2)]


def test_a_cascade_waits_for_its_variants() -> None:
    early, later = a_piece("vm_training", 2, 0.0, 3.0, 1, FEED), a_piece("vm_training", 2, 3.0, 5.0, 1, REELS)
    cascade = a_piece("cascade", 3, 8.0, 1.0, 2, "domain0")
    alone = critical_path(of_one_command(early, later, replace(cascade, stages=(FEED,))), a_recipe())
    assert named(alone.pieces) == [(REELS, 2)]
    whole = critical_path(of_one_command(early, later, replace(cascade, stages=(FEED, REELS))), a_recipe())
    assert named(whole.pieces) == [(REELS, 2), ("domain0", 3)]
    found = overlap(of_one_command(early, later, replace(cascade, stages=(FEED, REELS))), a_recipe())
    assert found is not None
    assert found.path_by_part == {"vms": 5.0, "cascades": 1.0}


def test_pieces_belong_to_the_command_under_which_they_started() -> None:
    commands = [
        Command(host="box", process=1, started=10.0),
        Command(host="box", process=2, started=100.0, ended=130.0),
    ]
    older, first, second = a_piece("data", 1, 3.0, 1.0), a_piece("fm", 1, 12.0, 5.0), a_piece("fm", 2, 110.0, 5.0)
    found = sessions(commands, [older, first, second])
    assert [(session.seconds, session.pieces) for session in found] == [(7.0, (first,)), (30.0, (second,))]


def test_a_command_that_was_killed_ended_with_its_last_piece_and_one_that_failed_when_it_says() -> None:
    killed = Command(host="box", process=1, started=0.0)
    assert [session.seconds for session in sessions([killed], [a_piece("fm", 1, 1.0, 4.0)])] == [5.0]
    failed = Command(host="box", process=1, started=-50.0, ended=-20.0)
    assert [session.seconds for session in sessions([failed, killed], [a_piece("fm", 1, 1.0, 4.0)])] == [30.0, 5.0]


def test_a_continued_run_adds_up_its_commands_and_not_the_time_between() -> None:
    commands = [
        Command(host="box", process=1, started=0.0, ended=20.0),
        Command(host="box", process=4, started=1_000.0, ended=1_016.0),
    ]
    pieces = [
        a_piece("start", 0, 0.0, 2.0, 2, "fm"), a_piece("fm", 1, 2.0, 10.0, 2),
        a_piece("start", 0, 1_000.0, 3.0, 5, "fm"), a_piece("fm", 2, 1_003.0, 10.0, 5),
    ]  # fmt: skip
    found = overlap(sessions(commands, pieces), a_recipe())
    assert found is not None
    assert (found.commands, found.wall, found.paused, found.path) == (2, 36.0, 980.0, 25.0)
    assert found.path_by_part == {"fm": 20.0, "start": 5.0}
    assert "2 commands made it" in (pause_sentence(found) or "")
    assert "16 min between them are not counted" in (pause_sentence(found) or "")


def whole(*pieces: DayOfWork) -> Overlap:
    found = overlap(of_one_command(*pieces), a_recipe())
    assert found is not None
    return found


def test_wall_by_path_and_the_share_of_the_fm() -> None:
    found = whole(*THREE_DAYS)
    assert (found.wall, found.path, found.fm_share) == (30.5, 30.0, 20 / 30)
    assert path_sentence(found) == (
        "The run took 30.5 s on the clock, 1.02 × its critical path of 30.0 s: the FM chain 66.7 %, start-up 20.0 %, "
        "the supervision 10.0 % and the VMs' work 3.3 %."
    )
    assert bound_sentence(found).startswith("What bounds it is the FM chain, the largest part of the critical path")
    assert pause_sentence(found) is None


def test_idle_shares_of_processes_and_processors() -> None:
    found = whole(*THREE_DAYS)
    lanes = {(lane.what, lane.process): lane for lane in found.lanes}
    assert list(lanes) == [
        ("Ray", 1), ("Data preparation", 1), ("FM training", 2), ("FM supervision", 1), ("VMs", 3),
    ]  # fmt: skip
    vms = lanes["VMs", 3]
    assert (vms.starting, vms.working) == (5.0, 7.5)
    assert vms.idle == pytest.approx(1 - 12.5 / 30.5)
    (box,) = found.hosts
    assert (box.cpus, box.busy) == (2, 36.5)  # all but the starts, whose CPU seconds nobody told
    assert box.idle == pytest.approx(1 - 36.5 / 61)


def test_cpu_seconds_count_where_they_were_measured() -> None:
    found = whole(a_piece("fm", 1, 0.0, 10.0, cpu_seconds=4.0), a_piece("start", 0, 0.0, 1.0, 2, "fm", cpu_seconds=0.5))
    assert (found.hosts[0].busy, found.work_by_part) == (4.5, {"fm": 4.0})


def test_time_in_which_pieces_overlap_is_covered_once() -> None:
    assert covered([a_piece("fm", 1, 0.0, 5.0), a_piece("fm", 2, 3.0, 1.0), a_piece("fm", 3, 8.0, 2.0)]) == 7.0


def test_much_work_on_few_processors_bounds_a_run() -> None:
    many = [a_piece("vm_training", 2, 0.0, 10.0, process, f"vm{process}") for process in range(1, 9)]
    found = whole(*many)
    assert (found.path, found.least_for_work) == (10.0, 40.0)
    assert bound_sentence(found) == (
        "What bounds it is the VMs' work: all work took 80.0 s of CPU time, at least 40.0 s on 2 CPUs, which is longer "
        "than the critical path; more CPUs would help."
    )


def test_start_up_bounds_a_run_that_has_little_to_do() -> None:
    found = whole(a_piece("start", 0, 0.0, 9.0, 1, "ray"), a_piece("fm", 1, 9.0, 1.0))
    assert bound_sentence(found).startswith("What bounds it is start-up")


def test_nothing_recorded_has_no_overlap() -> None:
    assert overlap(of_one_command(), a_recipe()) is None


def test_commands_and_starts_are_noted_in_the_run(tmp_path: Path) -> None:
    run = RunDirectory(Location.of(str(tmp_path)))
    with noted_command(run):
        (working,) = read_commands(run)
    (ended,) = read_commands(run)
    assert (working.started, working.ended) == (ended.started, None)
    assert ended.ended is not None
    assert ended.ended >= ended.started
    note_start(run, "fm", "fm-0", Stopwatch(1_000.0))
    note_start(run, "fm", "fm-0", Stopwatch(900.0))
    assert [(start.slot, start.made.started) for start in read_starts(run)] == [("fm-0", 900.0), ("fm-0", 1_000.0)]


def test_a_worker_that_helps_with_a_day_once_more_has_one_note_of_it(tmp_path: Path) -> None:
    run = RunDirectory(Location.of(str(tmp_path)))
    for day, started in ((2, 10.0), (2, 20.0), (3, 30.0)):
        note_help(run, "vm_training", FEED, day, 1, Stopwatch(started))
    note_help(run, "fm", "fm", 1, 2, Stopwatch(1.0))
    assert [(note.name, note.day, note.worker, note.made.started) for note in read_help(run)] == [
        (FEED, 2, 1, 20.0), (FEED, 3, 1, 30.0), ("fm", 1, 2, 1.0),
    ]  # fmt: skip


def test_a_command_that_fails_is_noted_to_have_ended(tmp_path: Path) -> None:
    run = RunDirectory(Location.of(str(tmp_path)))
    with pytest.raises(ValueError, match="broken"), noted_command(run):
        raise ValueError("broken")
    (command,) = read_commands(run)
    assert command.ended is not None


def test_a_replaced_process_is_waited_for_since_the_last_piece_of_the_dead_one() -> None:
    def start(slot: str, process: int, seconds: float) -> Start:
        return Start(what="fleet", slot=slot, made=Made(host="box", process=process, started=100.0, seconds=seconds))

    work = [a_piece("vm_training", 2, 110.0, 5.0, 1, FEED), a_piece("vm_training", 2, 109.0, 9.0, 2, REELS)]
    starts = [start("fleet-0", 1, 8.0), start("fleet-1", 2, 8.5), start("fleet-0", 3, 30.0)]
    found = starts_of(starts, work)
    assert [(piece.who, piece.made.process, piece.made.started, piece.made.seconds) for piece in found] == [
        ("fleet", 1, 100.0, 8.0), ("fleet", 2, 100.0, 8.5), ("fleet", 3, 115.0, 15.0),
    ]  # fmt: skip
