"""The report of run directories that are written here by hand, so that every number in it is known."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from exfm_ray.config import Recipe
from exfm_ray.data.commit import Made, Stopwatch, commit, write_file
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import Outcome, RunDirectory
from exfm_ray.errors import DataError, UserError
from exfm_ray.report import write_report
from exfm_ray.report.bias import bias_rows
from exfm_ray.report.control import matched_controls, uncontrolled
from exfm_ray.report.figures import timeline_drawing, vm_drawings
from exfm_ray.report.results import Results, read_results
from exfm_ray.report.statistics import (
    Change,
    Summary,
    gap_closed,
    ordering,
    paired_change,
    percent_changes,
    summarise,
    transfer_ratio,
)
from exfm_ray.report.tables import day_rows, variant_rows
from exfm_ray.report.work import DayOfWork, read_work, timeline, totals

HOSTILE = "<script>alert('x')</script>"
VOID = {"meta", "br", "hr", "img", "link", "input"}
Line = dict[str, Any]

# NE by (seed, day): the paper's order in every pair but that of kd and ah, which differ by noise around zero.
FEED: Mapping[str, Mapping[tuple[int, int], float]] = {
    "none": {(0, 3): 0.800, (0, 4): 0.900, (1, 3): 0.800, (1, 4): 1.000},
    "kd": {(0, 3): 0.792, (0, 4): 0.882, (1, 3): 0.796, (1, 4): 0.990},
    "ah": {(0, 3): 0.784, (0, 4): 0.891, (1, 3): 0.792, (1, 4): 0.995},
    "ah_sa": {(0, 3): 0.776, (0, 4): 0.873, (1, 3): 0.784, (1, 4): 0.980},
}


def a_line(vm: str, method: str, seed: int, day: int, ne: float | None, **changed: Any) -> Line:
    """A line of results.jsonl."""
    line: Line = {
        "vm": vm, "domain": 0, "stage": "later", "task": "click", "model": "deepfam", "fm": "fm", "method": method,
        "seed": seed, "train_day": day - 1, "eval_day": day, "rows": 1_000, "positives": 20, "ne": ne, "ne_eval": 0.91,
        "logloss": 0.0821, "auc": 0.7123, "calibration": 1.05, "fm_snapshot": f"fm-day{day - 2:03d}",
        "staleness_days": 0, "calibration_fm": None, "ne_fm": None, "ne_oracle": None, "excess": None,
        "excess_shifted": None,
    }  # fmt: skip
    assert changed.keys() <= line.keys()
    return {**line, **changed}


def lines_of(vm: str, by_method: Mapping[str, Mapping[tuple[int, int], float]], **changed: Any) -> list[Line]:
    return [
        a_line(vm, method, seed, day, ne, **changed)
        for method, series in by_method.items()
        for (seed, day), ne in series.items()
    ]


def a_run(
    place: Path,
    lines: Sequence[Line],
    vms: Sequence[dict[str, Any]] = ({"name": "feed"},),
    prepared: str | None = None,
    **recipe: Any,
) -> RunDirectory:
    """A run directory with a recipe and results."""
    whole = {
        "name": "trial",
        "seeds": [0, 1],
        "data": {"type": "drift", "days": 4, "events_per_day": 1_000},
        "vms": list(vms),
        **recipe,
    }
    run = RunDirectory(Location.of(str(place)))
    resolved = Recipe.model_validate(whole).model_dump(mode="json")
    content = {"recipe": resolved, "versions": {"torch": "2.13.0", "ray": "2.60.0"}, "prepared": prepared}
    run.recipe_file.write(yaml.safe_dump(content).encode())
    run.results_file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    return run


def add_work(run: RunDirectory, lines: Sequence[Line], rows: int = 5_000) -> None:
    """Partitions, snapshots and supervision of days 1 to 3, committed, an outcome file per line, snapshots of VMs."""
    places = {"days": run.root / "days", "fm": run.snapshots("fm"), "supervision": run.root / "supervision" / "fm"}
    for kind, place in places.items():
        for day in (1, 2, 3):
            directory = place.day(day)
            file = write_file(directory, "part", ".bin", b"content", rows=0 if kind == "fm" else rows)
            commit(directory, [file], {"day": day}, Stopwatch.start())
    for number, line in enumerate(lines):
        made = Made(host="box", process=7, started=1_000.0 + number, seconds=2.0)
        place = run.outcome_file(line["vm"], line["method"], line["seed"], line["eval_day"])
        place.write(Outcome(line=line, made=made).model_dump_json().encode())
        trained = run.snapshots(f"{line['vm']}-{line['method']}-seed{line['seed']}").day(2)
        commit(trained, [write_file(trained, "part", ".bin", b"content", rows=1_000)], {"day": 2}, Stopwatch.start())


def page_of(run: RunDirectory) -> str:
    place = write_report(run)
    assert place == run.report_file
    return place.read().decode()


class Walk(HTMLParser):
    """Checks that tags are balanced; collects the page's text, its attributes and its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


# ------------------------------------------------------------------------------------------- statistics


def test_summary_is_mean_and_sample_deviation() -> None:
    assert summarise([1.0, 3.0, 5.0]) == Summary(3, 3.0, 2.0)
    assert summarise([4.0]) == Summary(1, 4.0, None)
    assert summarise([]) == Summary(0, None, None)


def test_changes_are_paired_by_seed_and_day() -> None:
    none = {(0, 3): 0.8, (0, 4): 1.0, (1, 3): 0.5}
    taught = {(0, 3): 0.784, (0, 4): 1.01, (2, 3): 0.1}
    assert percent_changes(none, taught) == pytest.approx({(0, 3): -2.0, (0, 4): 1.0})
    change = paired_change(none, taught)
    assert change is not None
    assert (change.n, change.better, change.worse) == (2, 1, 1)
    assert change.mean == pytest.approx(-0.5)
    assert change.sd == pytest.approx(4.5**0.5)
    assert paired_change(none, {(9, 9): 1.0}) is None


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (Change(4, -0.51, 1.0, 3, 1), "yes"),
        (Change(4, -0.50, 1.0, 3, 1), "tie"),  # the standard error is exactly 0.5
        (Change(4, 0.50, 1.0, 1, 3), "tie"),
        (Change(4, 0.51, 1.0, 1, 3), "no"),
        (Change(1, -0.01, None, 1, 0), "yes"),
        (Change(1, 0.0, None, 0, 0), "tie"),
        (Change(2, 0.0, 0.0, 0, 0), "tie"),
    ],
)
def test_verdict_is_tie_within_one_standard_error(change: Change, verdict: str) -> None:
    assert change.verdict == verdict


def test_transfer_ratio_and_gap_closed() -> None:
    none, taught, fm = {(0, 3): 0.90, (0, 4): 0.80}, {(0, 3): 0.89, (0, 4): 0.79}, {(0, 3): 0.85, (0, 4): 0.77}
    assert transfer_ratio(none, taught, fm) == pytest.approx(0.01 / 0.04)
    assert transfer_ratio(none, taught, {(0, 3): 0.95}) is None
    assert transfer_ratio(none, taught, {(0, 3): 0.90}) is None
    assert transfer_ratio(none, taught, {}) is None
    assert gap_closed(none, taught, {(0, 3): 0.70}) == pytest.approx(0.01 / 0.2)
    assert gap_closed(none, {(0, 3): 0.95}, {(0, 3): 0.70}) == pytest.approx(-0.05 / 0.2)
    assert gap_closed(none, taught, none) is None


def results_of(place: Path, lines: Sequence[Line], **recipe: Any) -> Results:
    return read_results(a_run(place, lines, **recipe))


def test_order_of_the_paper(tmp_path: Path) -> None:
    order = ordering(results_of(tmp_path, lines_of("feed", FEED)), "feed")
    assert order is not None
    changes = [step.change for step in order.steps]
    # kd against none: -1, -2, -0.5, -1; ah against kd: -1.0101, 1.0204, -0.5025, 0.5051;
    # ah_sa against ah: -1.0204, -2.0202, -1.0101, -1.5075
    assert [change and round(change.mean, 4) for change in changes] == [-1.125, 0.0032, -1.3896]
    assert [change and change.verdict for change in changes] == ["yes", "tie", "yes"]
    assert order.verdict == "tie"
    assert [method for method, _ in order.means] == ["none", "ah", "kd", "ah_sa"]
    assert [round(mean, 5) for _, mean in order.means] == [0.875, 0.8655, 0.865, 0.85325]
    assert order.on_the_means is False
    assert order.pairs == 4


def test_order_of_one_method_is_none_and_of_two_is_one_step(tmp_path: Path) -> None:
    lines = lines_of("one", {"ah": FEED["ah"]}) + lines_of("two", {"none": FEED["none"], "ah_sa": FEED["ah_sa"]})
    results = results_of(tmp_path, lines)
    assert ordering(results, "one") is None
    order = ordering(results, "two")
    assert order is not None
    assert [(step.worse, step.better) for step in order.steps] == [("none", "ah_sa")]
    assert (order.verdict, order.on_the_means) == ("yes", True)


# ------------------------------------------------------------------------------------------ SA's control


def test_control_has_the_same_total_weight(tmp_path: Path) -> None:
    vms: list[dict[str, Any]] = [
        {"name": "feed", "distill": {"loss_weight": 0.5}},
        {"name": "feed_heavy", "methods": ["ah"], "distill": {"loss_weight": 1.5}},
        {"name": "feed_double", "methods": ["ah"], "distill": {"loss_weight": 2.0}},
        {"name": "reels", "methods": ["ah"], "domain": 1, "distill": {"loss_weight": 1.5}},
        {"name": "wide", "methods": ["ah"], "model": {"type": "fam"}, "distill": {"loss_weight": 1.5}},
        {"name": "lonely", "methods": ["ah_sa"], "stage": "early"},
    ]
    half = {pair: ne * 0.98 for pair, ne in FEED["none"].items()}
    lines = lines_of("feed", FEED) + lines_of("lonely", {"ah_sa": half})
    for name in ("feed_heavy", "feed_double", "reels", "wide"):
        lines += lines_of(name, {"ah": half})
    run = a_run(tmp_path, lines, vms)
    recipe, results = run.recipe(), read_results(run)
    (control,) = matched_controls(recipe, results)
    assert (control.vm, control.matched) == ("feed", "feed_heavy")
    assert (control.adapter_weight, control.matched_weight) == (0.5, 1.5)
    # ah_sa is 0.97, 0.97, 0.98 and 0.98 times none
    assert control.change.mean == pytest.approx(100 * (0.975 / 0.98 - 1))
    assert (control.change.n, control.differences) == (4, ())
    assert uncontrolled(recipe, results) == ["lonely"]
    text = Walk(page_of(run)).text
    assert "feed with ah_sa (weight 0.5 + 1) against feed_heavy with ah (weight 1.5)" in text
    assert "NE changes by -0.51 % ± 0.59 (n = 4 pairs of seed and day, better in 2)" in text
    assert "lonely has no VM beside it that runs ah at the same total distillation weight" in text


def test_control_names_what_else_differs(tmp_path: Path) -> None:
    vms: list[dict[str, Any]] = [
        {"name": "feed"},
        {
            "name": "other",
            "methods": ["ah"],
            "optimizer": {"learning_rate": 0.1},
            "distill": {"loss_weight": 2, "label_scale": 3, "adapter": {"hidden": [4]}},
        },
    ]
    run = a_run(tmp_path, lines_of("feed", FEED) + lines_of("other", {"ah": FEED["ah"]}), vms)
    (control,) = matched_controls(run.recipe(), read_results(run))
    assert control.differences == ("label_scale", "optimizer")
    assert "The two also differ in label_scale and optimizer." in Walk(page_of(run)).text


# ----------------------------------------------------------------------------------------------- tables


def test_rows_have_hand_computed_numbers(tmp_path: Path) -> None:
    truth = {"ne_fm": 0.75, "ne_oracle": 0.7, "excess": 0.2, "excess_shifted": 0.15}
    results = results_of(tmp_path, lines_of("feed", FEED, **truth))
    none, _, _, best = variant_rows(results)
    assert (none.vm, none.method, none.n) == ("feed", "none", 4)
    assert none.metrics["ne"].mean == pytest.approx(0.875)
    assert none.metrics["ne"].sd == pytest.approx((0.0275 / 3) ** 0.5)
    assert (none.change, none.vm_gain, none.transfer_ratio, none.gap_closed) == (None, None, None, None)
    assert best.change is not None
    assert best.change.mean == pytest.approx(-2.5)
    assert best.change.better == 4
    assert best.fm_gain == pytest.approx(0.125)
    assert best.vm_gain == pytest.approx(0.02175)
    assert best.transfer_ratio == pytest.approx(0.174)
    assert best.oracle_distance.mean == pytest.approx(0.15325)
    assert best.gap_closed == pytest.approx(0.02175 / 0.175)
    assert best.metrics["excess"].mean == pytest.approx(0.2)
    days = day_rows(results, "feed")
    assert [(row.method, row.eval_day, row.seeds) for row in days[:3]] == [("none", 3, 2), ("none", 4, 2), ("kd", 3, 2)]
    assert days[2].metrics["ne"] == pytest.approx(0.794)
    assert days[2].change == pytest.approx(-0.75)
    assert (days[2].snapshots, days[2].staleness_days) == (("fm-day001",), (0,))


def test_bias_is_the_share_of_the_way_to_the_fm_by_seed(tmp_path: Path) -> None:
    lines = [
        a_line("vm", method, seed, day, 0.9, calibration=value + 0.1 * seed, calibration_fm=fm)
        for method, value, fm in (("none", 1.0, 2.0), ("kd", 1.5, 2.0), ("ah", 1.0, 2.0), ("ah_sa", 1.1, None))
        for seed in (0, 1)
        for day in (3, 4)
    ]
    kd, ah = bias_rows(results_of(tmp_path, lines))
    assert (kd.method, kd.seeds, kd.fm.mean, kd.none.mean) == ("kd", 2, 2.0, pytest.approx(1.05))
    assert (kd.own.mean, kd.own.sd) == (pytest.approx(1.55), pytest.approx(0.0707107))
    assert kd.towards_fm.mean == pytest.approx((0.5 / 1.0 + 0.5 / 0.9) / 2)
    assert (ah.change.mean, ah.towards_fm.mean) == (0.0, 0.0)


def test_a_calibrated_fm_has_no_bias_to_hand_on(tmp_path: Path) -> None:
    lines = [a_line("vm", method, 0, 3, 0.9, calibration=1.0, calibration_fm=1.04) for method in ("none", "kd")]
    (kd,) = bias_rows(results_of(tmp_path, lines))
    assert kd.towards_fm.mean is None


def test_undefined_metrics_are_left_out_of_means_and_pairs(tmp_path: Path) -> None:
    lines = [
        a_line("feed", "none", 0, 3, 0.8, auc=None),
        a_line("feed", "none", 0, 4, None, auc=0.6),
        a_line("feed", "ah", 0, 3, 0.76, auc=float("nan"), calibration=None),
        a_line("feed", "ah", 0, 4, 0.80, auc=None, calibration=None),
    ]
    none, taught = variant_rows(results_of(tmp_path, lines))
    assert none.metrics["auc"] == Summary(1, 0.6, None)
    assert taught.metrics["auc"] == Summary(0, None, None)
    assert taught.change is not None
    assert taught.change.mean == pytest.approx(-5.0)
    assert (taught.change.n, taught.change.sd, taught.change.better) == (1, None, 1)
    assert taught.transfer_ratio is None
    page = page_of(RunDirectory(Location.of(str(tmp_path))))
    row = re.search(r"<tr[^>]*><td>feed</td><td class=\"left\">ah</td>.*?</tr>", page)
    assert row is not None
    assert re.findall(r"<td[^>]*>(.*?)</td>", row[0])[2:] == [
        "2", "0.78000 ± 0.02828", "-5.00 %", "0.91000 ± 0.00000", "0.08210 ± 0.00000", "–", "–",
    ]  # fmt: skip
    assert "None" not in Walk(page).text
    assert "nan" not in Walk(page).text


# ------------------------------------------------------------------------------------------------- work


def test_work_is_read_from_manifests_and_outcomes(tmp_path: Path) -> None:
    lines = lines_of("feed", FEED)
    run = a_run(tmp_path, lines)
    add_work(run, lines)
    pieces = read_work(run, read_results(run))
    by_kind = {total.kind: total for total in totals(pieces)}
    assert {kind: (total.pieces, total.days, total.rows) for kind, total in by_kind.items()} == {
        "data": (3, 3, 15_000),
        "fm": (3, 3, 15_000),
        "supervision": (3, 3, 15_000),
        "vm_training": (8, 1, 8_000),
        "vm_evaluation": (16, 2, 16_000),
    }
    vm = by_kind["vm_evaluation"]
    assert (vm.seconds, vm.clock_seconds, vm.hosts, vm.processes) == (32.0, 17.0, ("box",), 1)
    assert vm.rows_per_second == 500.0
    assert by_kind["fm"].processes == 1


def test_timeline_joins_the_pieces_of_a_process_and_day() -> None:
    def piece(kind: Any, day: int, process: int, started: float) -> DayOfWork:
        return DayOfWork(kind, day, None, Made(host="box", process=process, started=started, seconds=2.0))

    pieces = [
        piece("vm_training", 3, 8, 20.0),
        piece("vm_training", 3, 8, 25.0),
        piece("vm_training", 3, 9, 21.0),
        piece("vm_evaluation", 3, 8, 18.0),
        replace(piece("start", 0, 8, 16.0), who="fleet"),
    ]
    spans = timeline(pieces)
    assert [(span.kind, span.lane, span.pieces, span.started, span.ended) for span in spans] == [
        ("start", "VMs, box:8", 1, 16.0, 18.0),
        ("vm_evaluation", "VMs, box:8", 1, 18.0, 20.0),
        ("vm_training", "VMs, box:8", 2, 20.0, 27.0),
        ("vm_training", "VMs, box:9", 1, 21.0, 23.0),
    ]
    starts, training, _ = json.loads(timeline_drawing(spans).figure)["data"]
    assert (training["base"], training["x"], training["text"]) == ([4.0, 5.0], [7.0, 2.0], ["3", "3"])
    assert (starts["text"], starts["customdata"]) == ([""], ["getting ready"])
    assert [(total.kind, total.rows) for total in totals(pieces)] == [("vm_training", None), ("vm_evaluation", None)]


# ---------------------------------------------------------------------------------------------- figures


def test_figures_draw_means_and_the_spread_of_seeds(tmp_path: Path) -> None:
    drawings = vm_drawings(results_of(tmp_path, lines_of("feed", FEED, ne_fm=0.75)))
    assert {measure: len(members) for measure, members in drawings.items()} == {"ne": 1, "change": 1, "calibration": 1}
    figure = json.loads(drawings["ne"][0].figure)
    traces = {trace["name"]: trace for trace in figure["data"] if "name" in trace}
    assert list(traces) == ["none", "kd", "ah", "ah_sa", "FM itself"]
    assert traces["kd"]["x"] == [3, 4]
    assert traces["kd"]["y"] == pytest.approx([0.794, 0.936])
    band = next(trace for trace in figure["data"] if trace.get("legendgroup") == "kd" and "name" not in trace)
    assert band["x"] == [3, 4, 4, 3]
    assert band["y"] == [0.796, 0.99, 0.882, 0.792]
    assert figure["layout"]["xaxis"]["title"]["text"] == "evaluated day"
    change = json.loads(drawings["change"][0].figure)
    assert [trace["name"] for trace in change["data"] if "name" in trace] == ["kd", "ah", "ah_sa"]
    assert change["layout"]["yaxis"]["title"]["text"] == "change of NE against none, %"


# ------------------------------------------------------------------------------------------------- page


def test_page_is_whole_offline_and_says_what_came_out(tmp_path: Path) -> None:
    lines = lines_of("feed", FEED, ne_fm=0.75, ne_oracle=0.7, excess=0.2, excess_shifted=0.15)
    lines += lines_of("reels", {"none": FEED["none"], "ah": {pair: ne * 1.02 for pair, ne in FEED["none"].items()}})
    run = a_run(tmp_path, lines, [{"name": "reels", "methods": ["none", "ah"]}, {"name": "feed"}])
    add_work(run, lines)
    page = page_of(run)
    walk = Walk(page)
    for _, name, value in walk.attributes:
        assert name not in ("src", "srcset", "data", "action")
        assert name != "href" or value.startswith("#")
    assert "@import" not in page.split("</style>")[0]
    assert sum("plotly.js v" in script for script in walk.scripts) == 1
    identities = [value for _, name, value in walk.attributes if name == "id"]
    assert len(set(identities)) == len(identities)
    assert {value for _, name, value in walk.attributes if name == "data-figure"} <= set(identities)
    for word in ("feed", "reels", "none", "kd", "ah", "ah_sa", "FM training", "torch", "2.13.0", "box"):
        assert word in walk.text
    assert "next-day NE changes by -2.50 % ± 0.58 (n = 4 pairs of seed and day, better in 4)." in walk.text
    assert "next-day NE changes by +2.00 % ± 0.00 (n = 4 pairs of seed and day, better in 0)." in walk.text
    assert "That is worse than without the FM." in walk.text
    assert "Worse than none on the mean: ah (+2.00 % ± 0.00" in walk.text
    assert '<span class="verdict no">no</span>' in page
    assert "On the means the paper's order none > ah does not come out." in walk.text
    assert "ah 0.89250 > none 0.87500" in walk.text
    assert walk.text.index("none > ah does not") < walk.text.index("none > kd > ah > ah_sa does not")
    assert "days of one stream are not independent" in walk.text.lower()
    assert page_of(run) == page


def test_run_directory_may_be_a_uri(tmp_path: Path) -> None:
    lines = lines_of("feed", FEED)
    local = a_run(tmp_path, lines)
    add_work(local, lines)
    page = page_of(local)
    local.report_file.delete()
    assert page_of(RunDirectory(Location.of(tmp_path.as_uri()))) == page
    assert local.report_file.is_file()


def test_page_of_the_paper_order_says_yes(tmp_path: Path) -> None:
    series = {method: {(0, 3): ne, (1, 3): ne} for method, ne in zip(FEED, (0.9, 0.89, 0.88, 0.87), strict=True)}
    page = page_of(a_run(tmp_path, lines_of("feed", series)))
    assert page.count('<span class="verdict yes">yes</span>') == 4
    assert 'class="verdict no"' not in page
    assert "Worse than none" not in page
    assert "NE − best possible" not in page


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    lines = lines_of(HOSTILE, FEED, stage=HOSTILE, fm_snapshot=HOSTILE)
    run = a_run(tmp_path, lines, data={"type": "partitions", "path": HOSTILE}, prepared=str(tmp_path / "<b>days"))
    page = page_of(run)
    scripts = [script for script in Walk(page).scripts if script.strip()]
    assert HOSTILE not in page
    assert "<b>" not in page.replace("".join(scripts), "")
    assert HOSTILE in Walk(page).text
    assert len(scripts) == 2 + 3  # plotly, ours, and one figure of each measure


def test_what_the_recipe_asks_for_and_results_lack_is_named(tmp_path: Path) -> None:
    lines = lines_of("feed", FEED)[:-1]
    run = a_run(tmp_path, lines, [{"name": "feed"}, {"name": "reels", "methods": ["kd"]}], seeds=[1])
    text = Walk(page_of(run)).text
    assert "feed, ah_sa, seed 1: day 4; reels, kd, seed 1: days 3 to 4." in text


@pytest.mark.parametrize("content", [None, b""])
def test_a_run_without_results_is_told_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    run = a_run(tmp_path, [])
    run.results_file.delete()
    if content is not None:
        run.results_file.write(content)
    with pytest.raises(UserError, match=r"^out: .* results\.jsonl, .* let the run finish [^\n]*$"):
        write_report(run)
    assert not run.report_file.is_file()


def test_what_is_no_run_directory_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^out: .* no recipe\.yaml[^\n]*$"):
        write_report(RunDirectory(Location.of(str(tmp_path))))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not JSON"),
        (json.dumps(a_line("feed", "none", 0, 3, 0.9) | {"method": "kdd"}).encode(), "'method' is wrong"),
        (2 * (json.dumps(a_line("feed", "none", 0, 3, 0.9)).encode() + b"\n"), "2 lines for vm 'feed'"),
    ],
)
def test_broken_results_are_our_failure(tmp_path: Path, content: bytes, words: str) -> None:
    run = a_run(tmp_path, [])
    run.results_file.write(content)
    with pytest.raises(DataError, match=words):
        write_report(run)


# ---------------------------------------------------------------------------------------------- browser

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
BROWSER_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.mark.skipif(BROWSER is None, reason="needs chromium or chromium-browser on the PATH")
def test_a_browser_draws_every_figure_offline(tmp_path: Path) -> None:
    assert BROWSER is not None
    lines = lines_of("feed", FEED, ne_fm=0.75) + lines_of(HOSTILE, FEED)
    run = a_run(tmp_path / "run", lines)
    add_work(run, lines_of("feed", FEED))
    page_of(run)
    process = subprocess.run(
        [
            BROWSER, *BROWSER_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000",
            "--dump-dom", Path(run.report_file.uri).as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2_000:]
    plots = re.findall(r'<div class="plot[^"]*" id="([^"]+)"[^>]*>(.*?)</figure>', process.stdout, re.DOTALL)
    assert [identity for identity, _ in plots] == [
        "ne-0", "ne-1", "change-0", "change-1", "calibration-0", "calibration-1", "timeline",
    ]  # fmt: skip
    for identity, drawn in plots:
        assert re.search(r'<svg class="main-svg"', drawn), identity
        assert 'class="point"' in drawn or 'class="points"' in drawn, identity


def test_a_report_parses_the_recipe_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for it dozens of times, and with many VMs each parsing would take a tenth of a second."""
    run = a_run(tmp_path, lines_of("feed", FEED), name="parsed-once")
    parsed: list[bytes] = []

    def load(content: bytes) -> Any:
        parsed.append(content)
        return yaml.load(content, yaml.SafeLoader)

    monkeypatch.setattr("exfm_ray.data.run_directory.yaml.safe_load", load)
    page_of(run)
    assert parsed == [run.recipe_file.read()]


def test_what_a_caller_does_to_a_parsed_recipe_is_its_own(tmp_path: Path) -> None:
    run = a_run(tmp_path, [])
    run.resolved()["recipe"]["vms"].clear()
    assert [vm.name for vm in run.recipe().vms] == ["feed"]
