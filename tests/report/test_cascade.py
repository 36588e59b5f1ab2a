"""The cascade's part of the report, from lines that are written here by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from exfm_ray.config import CascadeConfig
from exfm_ray.data.commit import Made
from exfm_ray.data.run_directory import Outcome, RunDirectory
from exfm_ray.errors import DataError
from exfm_ray.report.cascade import CascadeReport, Gain, cascade_reports, read_cascade_lines, taught_by
from exfm_ray.report.cascade_figures import cascade_drawings
from exfm_ray.report.cascade_wording import cascade_findings, cascade_sentence, gain, won
from exfm_ray.report.results import read_results
from exfm_ray.report.work import read_work, totals
from tests.cascade.small import AD
from tests.report.test_report import Walk, a_line, a_run, page_of

STAGES = ("retrieval", "early", "later")
VMS: list[dict[str, Any]] = [
    {"name": stage, "stage": stage, "model": {"type": "two_tower", "item_fields": AD}} for stage in STAGES
]
NE = {
    "none": {"retrieval": (0.80, 0.90), "early": (0.80, 0.90), "later": (0.80, 0.90)},
    "ah": {"retrieval": (0.76, 0.873), "early": (0.784, 0.891), "later": (0.808, 0.90)},
}
RECALL = {"none": (0.30, 0.40), "ah": (0.36, 0.42)}
VALUE = {"none": (0.50, 0.40), "ah": (0.55, 0.42)}


def a_cascade_line(method: str, day: int, **changed: Any) -> dict[str, Any]:
    recall = RECALL[method][day - 3]
    return {
        "domain": 0, "method": method, "seed": 0, "fm": "fm", "train_day": day - 1, "eval_day": day,
        "vms": {stage: stage for stage in STAGES}, "requests": 25, "candidates": 900,
        "let_through": {"retrieval": 50, "early": 20, "later": 5},
        "recall": {stage: recall / place for place, stage in enumerate(STAGES, 1)},
        "recall_of_entered": dict.fromkeys(STAGES, recall),
        "value": VALUE[method][day - 3], "value_random": 0.1, "fm_requests": 3, "value_fm": 0.7, "recall_fm": 0.2,
        "fm_snapshot": None, **changed,
    }  # fmt: skip


def a_cascade_run(place: Path, vms: Any = None, **changed: Any) -> RunDirectory:
    lines = [
        a_line(stage, method, 0, day, NE[method][stage][day - 3], stage=stage)
        for stage in STAGES
        for method in NE
        for day in (3, 4)
    ]
    cascade = {"requests": 25, "candidates": 900, "retrieved": 50, "early": 20, "shown": 5, "fm_requests": 3}
    run = a_run(place, lines, vms or VMS, seeds=[0], methods=["none", "ah"], evaluate={"cascade": cascade})
    content = [a_cascade_line(method, day, **changed) for method in NE for day in (3, 4)]
    run.cascade_file.write("".join(json.dumps(line) + "\n" for line in content).encode())
    return run


def report_of(run: RunDirectory) -> CascadeReport:
    (report,) = cascade_reports(run.recipe(), read_results(run), read_cascade_lines(run))
    return report


def numbers(value: Gain | None) -> tuple[int, float, float, int]:
    assert value is not None
    assert value.sd is not None
    return value.n, round(value.mean, 9), round(value.sd, 9), value.better


def test_gains_are_paired_and_positive_where_better(tmp_path: Path) -> None:
    report = report_of(a_cascade_run(tmp_path))
    retrieval, later = report.of_stage("retrieval", "ah"), report.of_stage("later", "ah")
    assert numbers(retrieval.ne_gain) == (2, 4.0, round(2**0.5, 9), 2)  # 5 and 3 percent
    assert numbers(later.ne_gain) == (2, -0.5, round(0.5**0.5, 9), 0)  # -1 and 0 percent
    assert numbers(retrieval.recall_gain) == (2, 4.0, round(8**0.5, 9), 2)  # 6 and 2 points
    assert numbers(later.recall_gain) == (2, round(4 / 3, 9), round(8**0.5 / 3, 9), 2)
    assert numbers(later.recall_of_entered_gain) == (2, 4.0, round(8**0.5, 9), 2)
    assert retrieval.recall.mean == pytest.approx(0.39)
    assert report.of_stage("retrieval", "none").ne_gain is None
    none, taught = report.values
    assert (none.value.mean, none.gain) == (pytest.approx(0.45), None)
    assert numbers(taught.gain) == (2, 7.5, round(12.5**0.5, 9), 2)  # 10 and 5 percent
    assert (report.value_random.mean, report.value_fm.mean, report.recall_fm.mean) == (0.1, 0.7, 0.2)
    assert report.value_fm.n == 2  # once a day, whatever the methods


def test_words_tell_order_gains_and_what_is_lacking(tmp_path: Path) -> None:
    vms = [*VMS[:2], VMS[2] | {"methods": ["none", "ah", "kd"]}]
    report = report_of(a_cascade_run(tmp_path, vms))
    order, lacking = cascade_findings(report)
    assert order.startswith("NE gain by ah: retrieval +4.00 %, early +1.50 %, later -0.50 %.")
    assert order.endswith("on the means that order comes out here.")
    assert lacking == "kd has no cascade: retrieval and early did not run it."
    assert gain(taught_by(report)["retrieval"]) == "+4.00 ± 1.41"  # type: ignore[index]
    assert (gain(None), won(None)) == ("–", "–")
    assert won(report.of_stage("early", "ah").ne_gain) == "better in 2 of 2"
    config = CascadeConfig(requests=1_000, candidates=100_000)
    assert "each with the same 100,000 ads to choose from: retrieval lets 1,000 of them" in cascade_sentence(config)


def test_the_page_has_table_and_figures_and_work(tmp_path: Path) -> None:
    run = a_cascade_run(tmp_path)
    for method in NE:
        for day in (3, 4):
            made = Made(host="box", process=7, started=1_000.0 + day, seconds=2.0)
            outcome = Outcome(line=a_cascade_line(method, day), made=made)
            run.cascade_outcome_file(0, method, 0, day).write(outcome.model_dump_json().encode())  # type: ignore[arg-type]
    page = page_of(run)
    walk = Walk(page)
    assert "the FM, scoring every candidate of 3 requests a day" in walk.text
    assert "better in 2 of 2" in walk.text
    drawn = {value for tag, name, value in walk.attributes if name == "data-figure" and "cascade" in value}
    assert drawn == {f"cascade-{kind}-0-data" for kind in ("ne", "recall", "value")}
    assert all(f'id="{identity}"' in page for identity in drawn)
    (work,) = [of_kind for of_kind in totals(read_work(run, read_results(run))) if of_kind.kind == "cascade"]
    assert (work.pieces, work.days, work.rows, work.seconds) == (4, 2, 100, 8.0)


def test_figures_show_means_and_their_spread(tmp_path: Path) -> None:
    ne, _, value = [json.loads(drawing.figure) for drawing in cascade_drawings(report_of(a_cascade_run(tmp_path)))]
    (bars,) = ne["data"]
    assert (bars["name"], bars["x"]) == ("ah", list(STAGES))
    assert bars["y"] == pytest.approx([4.0, 1.5, -0.5])
    assert bars["error_y"]["array"][0] == pytest.approx(2**0.5)
    assert value["data"][0]["x"] == ["random", "none", "ah", "FM on all"]
    assert value["data"][0]["y"] == pytest.approx([0.1, 0.45, 0.485, 0.7])


def test_without_an_fm_reference_none_is_shown(tmp_path: Path) -> None:
    run = a_cascade_run(tmp_path, fm_requests=0, value_fm=None, recall_fm=None)
    assert "the FM, scoring every candidate" not in page_of(run)
    *_, value = cascade_drawings(report_of(run))
    assert json.loads(value.figure)["data"][0]["x"] == ["random", "none", "ah"]


def test_a_run_without_a_cascade_says_nothing_of_one(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path, [a_line("feed", "none", 0, 3, 0.9)]))
    assert 'id="cascade"' not in page
    assert "#cascade" not in page


def test_a_broken_line_is_our_failure(tmp_path: Path) -> None:
    run = a_cascade_run(tmp_path, value="much")
    with pytest.raises(DataError, match="has a line whose 'value' is wrong"):
        read_cascade_lines(run)
