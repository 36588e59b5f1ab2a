"""The whole loop in one process: results, leaks, continuing, and what the commands say."""

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.config import Recipe
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema, read_rows, write_partition
from exfm_ray.data.run_clock import read_commands
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.report.overlap import overlap
from exfm_ray.report.overlap_wording import path_sentence
from exfm_ray.report.results import read_results
from exfm_ray.report.sessions import sessions
from exfm_ray.report.work import STEP_KINDS, read_work
from exfm_ray.schema import EVENT_ID, FM_SNAPSHOT
from exfm_ray.simulation import produce, write_results
from tests.conftest import claimed, small_content

KEYS = {
    *("vm", "domain", "stage", "task", "model", "fm", "method", "seed", "train_day", "eval_day", "rows", "positives"),
    *("ne", "ne_eval", "logloss", "auc", "calibration", "fm_snapshot", "staleness_days"),
}


def exfm(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def run_small(recipe: Path, out: Path, *edits: str) -> bytes:
    """Results of a run in this process."""
    options = [option for edit in edits for option in ("--set", edit)]
    result = exfm("run", str(recipe), "--out", str(out), *options)
    assert result.exit_code == 0, result.output
    return (out / "results.jsonl").read_bytes()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the small recipe, not to be changed."""
    place = tmp_path_factory.mktemp("finished")
    recipe = place / "small.yaml"
    recipe.write_text(yaml.safe_dump(small_content()))
    run_small(recipe, place / "run")
    return place / "run"


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]


def test_a_run_needs_no_compiler(small_recipe_file: Path, tmp_path: Path) -> None:
    """torch imports its own at the slightest occasion: 70 MiB and a second of CPU time in every process of a run."""
    script = (
        "import sys; from exfm_ray.cli import app; "
        "app(['run', *sys.argv[1:]], standalone_mode=False); "
        "print([name for name in ('torch._dynamo', 'torch._inductor', 'sympy') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(small_recipe_file), "--out", str(tmp_path / "run")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "run" / "results.jsonl").is_file()


def test_there_is_a_line_for_every_vm_method_seed_and_day(finished: Path) -> None:
    found = [
        (line["vm"], line["method"], line["seed"], line["train_day"], line["eval_day"]) for line in lines(finished)
    ]
    assert found == [
        (vm, method, 0, day - 1, day)
        for vm in ("first", "second")
        for method in ("none", "kd", "ah", "ah_sa")
        for day in (3, 4)
    ]


def test_every_line_has_every_key_and_possible_values(finished: Path) -> None:
    for line in lines(finished):
        assert set(line) >= KEYS
        assert 0 < line["positives"] < line["rows"]
        assert 0.5 < line["auc"] < 1
        assert 0 < line["ne_oracle"] < line["ne"] < 1.3
        assert 0 < line["excess_shifted"] <= line["excess"]
        assert line["fm_snapshot"] == (None if line["method"] == "none" else f"fm/day={line['train_day'] - 1:03d}")


def test_methods_share_the_rows_and_differ_in_the_model(finished: Path) -> None:
    last = [line for line in lines(finished) if line["vm"] == "first" and line["eval_day"] == 4]
    assert len({(line["rows"], line["positives"], line["ne_fm"], line["ne_oracle"]) for line in last}) == 1
    assert len({line["ne"] for line in last}) == 4


def test_supervision_is_aligned_and_names_the_fm_of_the_day_before(finished: Path, small_recipe: Recipe) -> None:
    experiment = claimed(small_recipe, finished)
    for day in (2, 3, 4):
        (day_ids,) = (table[EVENT_ID] for table in read_rows(experiment.run.days.day(day), [EVENT_ID], 10**6))
        (side,) = read_rows(experiment.supervision(day), [EVENT_ID, "fm_click", FM_SNAPSHOT], 10**6)
        assert side[EVENT_ID].equals(day_ids)
        assert set(side[FM_SNAPSHOT].to_pylist()) == {f"fm/day={day - 1:03d}"}
        assert 0 < min(side["fm_click"].to_pylist()) < max(side["fm_click"].to_pylist()) < 1


def test_the_report_says_how_the_work_of_a_run_overlapped(finished: Path) -> None:
    run = RunDirectory(Location.of(str(finished)))
    pieces = read_work(run, read_results(run))
    counts = {kind: len([piece for piece in pieces if piece.kind == kind]) for kind in STEP_KINDS}
    variants = 2 * 4
    assert counts == {
        "start": 2, "data": 4, "vocabulary": 0, "feedback": 0, "fm": 3, "supervision": 3,
        "vm_training": 2 * variants, "vm_evaluation": 2 * variants, "cascade": 0,
    }  # fmt: skip
    (session,) = sessions(read_commands(run), pieces)
    assert len(session.pieces) == len(pieces)
    found = overlap([session], run.recipe())
    assert found is not None
    # one process does one piece after the other, so that their chain cannot be longer than all of them
    assert 0 < found.path < sum(piece.made.seconds for piece in pieces) <= found.wall
    assert 0 < found.fm_share < 1
    assert {lane.what for lane in found.lanes} == {"Data preparation", "FM training", "FM supervision", "VMs"}
    page = (finished / "report" / "index.html").read_text()
    assert html.escape(path_sentence(found), quote=True) in page.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


def test_the_same_recipe_gives_the_same_bytes(finished: Path, small_recipe_file: Path, tmp_path: Path) -> None:
    assert run_small(small_recipe_file, tmp_path / "again") == (finished / "results.jsonl").read_bytes()


def test_nothing_but_resources_may_change_in_a_run_directory(
    finished: Path, small_recipe_file: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    before = (tmp_path / "run" / "results.jsonl").read_bytes()
    result = exfm("run", str(small_recipe_file), "--out", str(tmp_path / "run"), "--set", "vms.first.domain=1")
    assert result.exit_code == 2
    assert "holds another run: its vms.0.domain is 0, not 1; name another directory" in result.stderr
    result = exfm("run", str(small_recipe_file), "--out", str(tmp_path / "run"), "--set", "das.rows_per_request=100")
    assert result.exit_code == 2
    assert "its das.rows_per_request is 16384, not 100" in result.stderr
    edits = ("resources.max_failures=1", "das.lease_seconds=9")
    assert run_small(small_recipe_file, tmp_path / "run", *edits) == before


@pytest.mark.parametrize("method", ["none", "ah_sa"])
def test_the_future_changes_nothing(finished: Path, small_recipe: Recipe, tmp_path: Path, method: str) -> None:
    """Days after the evaluated one are made anew with other labels; lines of the days before stay equal."""
    recipe = Recipe.model_validate(small_content(methods=[method]))
    experiment = claimed(recipe, tmp_path / "run")
    shutil.copytree(finished / "days", tmp_path / "run" / "days", dirs_exist_ok=True)
    dataset = experiment.run.days
    (table,) = read_rows(dataset.day(4), arrow_schema(experiment.data_schema).names, 10**6)
    index = table.schema.get_field_index("label_click")
    turned = pa.array([1 - label for label in table["label_click"].to_pylist()], pa.int8())
    dataset.day(4).delete()
    write_partition(dataset, 4, [table.set_column(index, table.schema.field(index), turned)], experiment.data_schema)
    produce(experiment, open_dataset(recipe.data), None)
    write_results(experiment)
    ours = [line for line in lines(tmp_path / "run") if line["eval_day"] == 3]
    theirs = [line for line in lines(finished) if line["eval_day"] == 3 and line["method"] == method]
    assert ours == theirs
    turned_day = [line["positives"] for line in lines(tmp_path / "run") if line["eval_day"] == 4]
    assert turned_day != [line["positives"] for line in lines(finished) if line["eval_day"] == 4][: len(turned_day)]


def test_a_stale_fm_supervises_later(small_recipe_file: Path, tmp_path: Path) -> None:
    run_small(small_recipe_file, tmp_path / "run", "fm.staleness_days=1", "methods=[none, kd]")
    found = lines(tmp_path / "run")
    assert {(line["train_day"], line["eval_day"], line["staleness_days"]) for line in found} == {(3, 4, 1)}
    assert {line["fm_snapshot"] for line in found} == {None, "fm/day=001"}


@pytest.mark.parametrize("after", [0.6, 0.8, 1.2, 2.0])
def test_killed_and_started_again_equals_undisturbed(
    finished: Path, small_recipe_file: Path, tmp_path: Path, after: float
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "exfm_ray.cli", "run", str(small_recipe_file), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (out / "snapshots" / "fm" / "day=001" / "manifest.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(after - 0.6)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    committed = {path: path.read_bytes() for path in out.rglob("manifest.json") if "checkpoints" not in path.parts}
    assert committed
    had_all = len([*out.glob("results/**/*.json")]) == len(lines(finished))  # a quick machine was done before the kill
    assert run_small(small_recipe_file, out) == (finished / "results.jsonl").read_bytes()
    commands = read_commands(RunDirectory(Location.of(str(out))))
    if not had_all:
        assert [command.ended is None for command in commands] == [True, False]
    assert ("2 commands made it" in (out / "report" / "index.html").read_text()) == (not had_all)
    assert {path: path.read_bytes() for path in committed} == committed  # nothing finished was done again


def test_two_commands_do_not_share_a_run_directory(small_recipe_file: Path, tmp_path: Path) -> None:
    from exfm_ray.data.location import Location
    from exfm_ray.run_start import holding

    with holding(Location.of(str(tmp_path / "run"))):
        result = exfm("run", str(small_recipe_file), "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert "another command works in" in result.stderr


def test_our_failure_keeps_its_traceback(finished: Path, small_recipe_file: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "days", tmp_path / "run" / "days")
    next((tmp_path / "run" / "days" / "day=002").glob("*.parquet")).write_bytes(b"no parquet")
    result = exfm("run", str(small_recipe_file), "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "the traceback is in" in result.stderr
    assert "Traceback" in (tmp_path / "run" / "logs" / "failure.log").read_text()


def test_the_report_is_made_anew(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "report" / "index.html").unlink()
    result = exfm("report", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert all(word in page for word in ("first", "second", "ah_sa", "calibration"))


def test_a_report_of_nothing_is_the_users_mistake(tmp_path: Path) -> None:
    result = exfm("report", str(tmp_path))
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1


def test_prepared_partitions_give_the_same_results(finished: Path, small_recipe_file: Path, tmp_path: Path) -> None:
    data = f"data={{type: partitions, path: {finished / 'days'}}}"
    assert run_small(small_recipe_file, tmp_path / "run", data) == (finished / "results.jsonl").read_bytes()
    assert not (tmp_path / "run" / "days").exists()


@pytest.mark.parametrize("damage", ["empty", "no schema", "a day missing", "a day of another schema"])
def test_incomplete_partitions_are_told(finished: Path, small_recipe_file: Path, tmp_path: Path, damage: str) -> None:
    days = tmp_path / "days"
    shutil.copytree(finished / "days", days)
    if damage == "empty":
        shutil.rmtree(days)
        days.mkdir()
    elif damage == "no schema":
        (days / "schema.json").unlink()
    elif damage == "a day missing":
        (days / "day=002" / "manifest.json").unlink()
    else:
        manifest = days / "day=002" / "manifest.json"
        manifest.write_text(re.sub(r'"schema": "\w+"', '"schema": "0123456789abcdef"', manifest.read_text()))
    data = f"data={{type: partitions, path: {days}}}"
    result = exfm("run", str(small_recipe_file), "--out", str(tmp_path / "run"), "--set", data)
    assert result.exit_code == 2
    assert "data.path" in result.stderr
    assert not (tmp_path / "run").exists()


def test_real_logs_run(kuairand_path: Path, tmp_path: Path) -> None:
    """Four days of KuaiRand, raw and prepared: the same results."""
    content = small_content(
        data={"type": "kuairand", "path": str(kuairand_path), "last_date": "2022-04-28"},
        methods=["none", "ah_sa"],
        vms=[{"name": task, "task": task, "model": {"type": "fam", "embedding_dim": 4}} for task in ("click", "like")],
    )
    recipe = tmp_path / "kuairand.yaml"
    recipe.write_text(yaml.safe_dump(content))
    raw = run_small(recipe, tmp_path / "raw")
    prepared = exfm(
        "prepare", "kuairand", str(kuairand_path), "--out", str(tmp_path / "days"), "--set", "last_date=2022-04-28"
    )
    assert prepared.exit_code == 0, prepared.output
    assert "prepared 4 days" in prepared.output
    assert run_small(recipe, tmp_path / "run", f"data.path={tmp_path / 'days'}") == raw
    longer = exfm(
        "run", str(recipe), "--out", str(tmp_path / "longer"),
        "--set", f"data.path={tmp_path / 'days'}", "--set", "data.history_length=7",
    )  # fmt: skip
    assert longer.exit_code == 2
    assert f"data.history_length: 7, but {tmp_path / 'days'} was prepared with 20" in longer.stderr
    assert not (tmp_path / "longer").exists()
    other = exfm(
        "prepare", "kuairand", str(kuairand_path), "--out", str(tmp_path / "days"), "--set", "last_date=2022-04-29"
    )
    assert other.exit_code == 2
    assert "prepared with other settings" in other.stderr


def test_an_fm_does_not_read_what_it_is_kept_from(tmp_path: Path, small_recipe_file: Path) -> None:
    run_small(small_recipe_file, tmp_path / "run", "fm.exclude=[service, user_view_0]", "data.days=3")
    facts = json.loads((tmp_path / "run/snapshots/fm/day=001/manifest.json").read_text())["about"]
    names = [feature["name"] for feature in facts["inputs"]["features"]]
    assert "service" not in names
    assert "user_view_0" not in names
    assert "user_view_1" in names
    assert all(line["calibration_fm"] is not None for line in lines(tmp_path / "run"))
