"""The report's section on the feedback window, of run directories whose numbers are known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from exfm_ray.das.window import RequestTime, measured_of
from exfm_ray.data.commit import Stopwatch, commit, write_file
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.report.feedback import fm_is_late, read_calls, read_fm_work, read_labels, staleness_needed
from exfm_ray.report.results import read_results
from exfm_ray.report.wording import duration, share
from tests.report.test_report import FEED, Walk, a_run, lines_of, page_of

DAY = 86_400_000
WINDOWS = {"click": 1_000, "conversion": 86_400}
LINES = lines_of("feed", FEED) + lines_of("reels", {"none": FEED["none"]}, rows=3_000)
VMS = ({"name": "feed"}, {"name": "reels", "methods": ["none"]})


def a_run_with_a_window(place: Path, late: str = "negative", **recipe: Any) -> RunDirectory:
    """Days 1 to 3 are joined: 10 of 100 clicks and 5 of 20 conversions are lost on each."""
    das = {"feedback": {"windows": WINDOWS, "late": late}}
    run = a_run(place, LINES, VMS, das=das, **recipe)
    for day in (1, 2, 3):
        tasks = {"click": {"positives": 100, "in_time": 90, "lost": 10}}
        tasks |= {"conversion": {"positives": 20, "in_time": 15, "lost": 5}}
        about = {"day": day, "rows": 2_000, "rows_without_label": 4, "tasks": tasks}
        commit(run.feedback.day(day), [], about, Stopwatch.start())
    return run


def add_supervision(run: RunDirectory, about: Mapping[str, Any] | None = None) -> None:
    """Days 2 to 4, each with four requests of 500 rows over 400 s; the FM works 1 s on each, 2 s on the last day's."""
    for day in (2, 3, 4):
        place, start = run.supervision("fm").day(day), (day - 1) * DAY
        requests = [
            RequestTime(
                first_event=start + at * 20_000_000,
                last_event=start + at * 20_000_000 + 400_000,
                rows=500,
                seconds=1.0 + (day == 4),
            )
            for at in range(4)
        ]
        file = write_file(place, "part", ".bin", b"content", rows=2_000)
        commit(place, [file], {"day": day, **(about or {})}, Stopwatch.start(), measured_of(requests, 2))


def test_labels_are_summed_over_the_joined_days(tmp_path: Path) -> None:
    run = a_run_with_a_window(tmp_path)
    labels = read_labels(run, run.recipe().das.feedback)
    assert labels is not None
    click, conversion = labels.tasks
    assert (click.window, click.positives, click.in_time, click.lost) == (1_000, 300, 270, 30)
    assert (click.share_lost, conversion.share_lost) == (0.1, 0.25)
    assert (click.share_of_day, conversion.share_of_day) == (pytest.approx(0.01157, abs=1e-5), 1.0)
    assert (labels.days, labels.rows, labels.rows_without_label, labels.longest) == (3, 6_000, 12, 86_400)
    assert read_labels(run, None) is None


def test_the_fms_work_is_told_by_day_and_over_all_days(tmp_path: Path) -> None:
    run = a_run_with_a_window(tmp_path)
    add_supervision(run)
    second, third, fourth, whole = read_fm_work(run, read_labels(run, run.recipe().das.feedback))
    assert [work.day for work in (second, third, fourth, whole)] == [2, 3, 4, None]
    assert (whole.requests, whole.rows, whole.replicas) == (12, 6_000, 2)
    assert (second.row_seconds, fourth.row_seconds) == (0.002, 0.004)
    assert whole.row_seconds == pytest.approx(16 / 6_000)
    assert (second.p50, fourth.p99) == (1.0, 2.0)
    assert second.use is not None
    # rows lie evenly over 400 s and are answered 1 s after the last
    assert (second.use.p50, second.use.p99) == (pytest.approx(201.0), pytest.approx(397.0))
    assert second.use.head_room == pytest.approx(603.0)
    assert second.use.hidden == 1.0


def test_without_a_window_the_fms_work_is_told_all_the_same(tmp_path: Path) -> None:
    run = a_run(tmp_path, LINES, VMS)
    add_supervision(run)
    assert [(work.day, work.rows, work.use) for work in read_fm_work(run, None)][-1] == (None, 6_000, None)
    text = Walk(page_of(run)).text
    assert "The FM's work" in text
    assert "all 2 12 6,000 2,666.67 1.00 s 2.00 s" in text
    assert "head-room" not in text
    assert "The feedback window" not in text


def test_calls_are_compared_on_the_evaluated_days(tmp_path: Path) -> None:
    run = a_run(tmp_path, LINES, VMS)
    add_supervision(run)
    calls = read_calls(run, read_results(run))
    assert calls is not None
    assert (calls.days, calls.fm_rows, calls.vm_rows) == ((3, 4), 4_000, 8_000)
    assert "FM calls ÷ rows of all VMs: 0.500 (4,000 predictions of the FM for 8,000 rows" in Walk(page_of(run)).text


def test_calls_are_those_that_the_side_car_counts_where_it_does(tmp_path: Path) -> None:
    run = a_run(tmp_path, LINES, VMS)
    add_supervision(run, {"fm_rows": 1_000})
    calls = read_calls(run, read_results(run))
    assert calls is not None
    assert calls.fm_rows == 2_000
    assert read_calls(a_run(tmp_path / "other", LINES, VMS), read_results(run)) is None


@pytest.mark.parametrize(("staleness", "late"), [(0, 86_400), (1, 0), (2, 0)])
def test_the_fm_waits_for_the_longest_window(tmp_path: Path, staleness: int, late: int) -> None:
    run = a_run_with_a_window(tmp_path, fm={"staleness_days": staleness})
    labels = read_labels(run, run.recipe().das.feedback)
    assert labels is not None
    assert fm_is_late(run.recipe(), labels) == late
    assert staleness_needed(labels) == 1


def test_the_page_tells_the_window(tmp_path: Path) -> None:
    run = a_run_with_a_window(tmp_path)
    add_supervision(run)
    page = page_of(run)
    text = Walk(page).text
    assert '<a href="#feedback">Feedback window</a>' in page
    assert "click 17 min 300 270 30 10.0 0 1.2" in text
    assert "conversion 24 h 60 45 15 25.0 0 100.0" in text
    assert "Of 6,000 rows of 3 days, those whose label was lost trained as negative ones" in text
    assert "after midnight by click 17 min and conversion 24 h" in text
    assert "would be there 24 h after the day has begun; fm.staleness_days: 1 is what allows for that" in text
    assert "Over all 3 days, 99 % of the rows were answered within 7 min of their event, 39.7 % of the" in text
    assert "100.0 % of the FM's work was hidden in it." in text
    assert "Feedback join" in text
    assert page_of(run) == page


def test_the_page_tells_what_was_dropped(tmp_path: Path) -> None:
    text = Walk(page_of(a_run_with_a_window(tmp_path, "drop", fm={"staleness_days": 1}))).text
    assert "click 17 min 300 270 30 10.0 30 1.2" in text
    assert "The FM leaves out 12 rows that lost all labels" in text
    assert "That takes hindsight" in text
    assert "which its staleness allows for" in text
    assert "No side-car of this run recorded how long the FM worked on its requests" in text


def test_a_run_without_window_or_side_cars_says_nothing_of_it(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path, LINES, VMS))
    assert 'id="feedback"' not in page
    assert "#feedback" not in page


def test_a_wait_for_full_requests_is_not_blamed_on_the_fm(tmp_path: Path) -> None:
    run = a_run(tmp_path, LINES, VMS, das={"feedback": {"windows": {"click": 100}}})
    tasks = {"click": {"positives": 0, "in_time": 0, "lost": 0}}
    commit(
        run.feedback.day(1),
        [],
        {"day": 1, "rows": 9, "rows_without_label": 0, "tasks": tasks},
        Stopwatch.start(),
    )
    add_supervision(run)
    text = Walk(page_of(run)).text
    assert "That is the wait for 500 rows to fill a request, not the FM: after that it answered within 2.00 s" in text
    assert "−5 min" in text


def test_times_have_the_unit_that_suits_them() -> None:
    assert [duration(value) for value in (0.004, 0.25, 9.5, 95.0, 600.0, 5_400.0, 86_400.0, -3_660.0)] == [
        "4.0 ms", "0.25 s", "9.50 s", "95.0 s", "10 min", "1 h 30 min", "24 h", "−1 h 1 min",
    ]  # fmt: skip
    assert (share(0.123), share(None)) == ("12.3", "–")
