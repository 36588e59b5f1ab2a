"""Runs with a feedback window: what labels that come too late do to training, and that nothing else changes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from exfm_ray.config import Recipe
from exfm_ray.data.commit import Stopwatch, commit, require
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows, write_part
from exfm_ray.errors import DataError
from exfm_ray.schema import EVENT_ID
from exfm_ray.simulation import produce
from tests.conftest import claimed, small_content
from tests.test_simulation import exfm, lines, run_small

EDITS = (
    "methods=[none, ah_sa]",
    *(f"{model}.optimizer={{learning_rate: 0.1, batch_size: 64}}" for model in ("fm", "vms.first", "vms.second")),
)
"""fast enough to have learnt the base rate after a day"""
CLOSED_EARLY = (*EDITS, "das.feedback.windows={click: 60}")
"""Delays are log-uniform from 5 s to 90 minutes: a window of a minute loses two thirds of the clicks."""


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(yaml.safe_dump(small_content()))
    return path


def a_run(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory, *edits: str) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    run_small(recipe_file, out, *edits)
    return out


@pytest.fixture(scope="module")
def complete(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(recipe_file, tmp_path_factory, *EDITS)


@pytest.fixture(scope="module")
def negative(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(recipe_file, tmp_path_factory, *CLOSED_EARLY)


@pytest.fixture(scope="module")
def dropped(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(recipe_file, tmp_path_factory, *CLOSED_EARLY, "das.feedback.late=drop")


def checkpoints(run: Path, variant: str) -> dict[str, Any]:
    """Rows and positives of all training, as the last checkpoint counts them."""
    (manifest,) = (run / "checkpoints" / variant).glob("day=003*/manifest.json")
    about: dict[str, Any] = json.loads(manifest.read_text())["about"]
    return about


def calibrations(run: Path, method: str) -> list[float]:
    return [line["calibration"] for line in lines(run) if line["method"] == method]


def test_a_window_that_loses_nothing_changes_no_result(recipe_file: Path, complete: Path, tmp_path: Path) -> None:
    for late in ("negative", "drop"):
        out = tmp_path / late
        wide = f"das.feedback={{windows: {{click: 86400}}, late: {late}}}"
        assert run_small(recipe_file, out, *EDITS, wide) == (complete / "results.jsonl").read_bytes()
        about = require(Location.of(str(out / "feedback")).day(3)).about
        assert about["tasks"]["click"]["lost"] == 0 < about["tasks"]["click"]["in_time"]
    assert not (complete / "feedback").exists()


def test_labels_that_come_too_late_make_models_predict_too_little(complete: Path, negative: Path) -> None:
    whole, short = (checkpoints(run, "first-none-seed0") for run in (complete, negative))
    assert short["rows"] == whole["rows"]
    assert short["positives"] < 0.6 * whole["positives"]
    for method in ("none", "ah_sa"):
        pairs = zip(calibrations(complete, method), calibrations(negative, method), strict=True)
        assert all(low < 0.75 * high and low < 1 for high, low in pairs)
    # what is evaluated is what really happened
    for key in ("vm", "eval_day", "rows", "positives"):
        assert [line[key] for line in lines(negative)] == [line[key] for line in lines(complete)]
    fm = [
        (low["calibration_fm"], high["calibration_fm"])
        for low, high in zip(lines(negative), lines(complete), strict=True)
    ]
    assert all(low < 0.75 * high for low, high in fm)


def test_dropping_leaves_out_the_rows_and_no_others(complete: Path, negative: Path, dropped: Path) -> None:
    whole, short, less = (checkpoints(run, "first-none-seed0") for run in (complete, negative, dropped))
    lost = whole["positives"] - short["positives"]
    assert less["positives"] == short["positives"]
    assert less["rows"] == whole["rows"] - lost
    fm = [json.loads((run / "snapshots/fm/day=001/manifest.json").read_text())["rows"] for run in (complete, dropped)]
    day = require(Location.of(str(dropped / "feedback")).day(1)).about
    assert fm[0] - fm[1] == day["tasks"]["click"]["lost"] == day["rows_without_label"]
    assert (dropped / "results.jsonl").read_bytes() != (negative / "results.jsonl").read_bytes()


def test_several_tasks_train_and_the_fm_leaves_out_single_labels(recipe_file: Path, tmp_path: Path) -> None:
    edits = (
        "data.tasks=[click, conversion]", "data.base_logit=0", "vms.second.task=conversion", "methods=[kd]",
        "das.feedback={windows: {click: 60, conversion: 3600}, late: drop}",
    )  # fmt: skip
    run_small(recipe_file, tmp_path / "run", *edits)
    for line in lines(tmp_path / "run"):
        assert line["logloss"] is not None
        assert line["ne_fm"] is not None
    day = require(Location.of(str(tmp_path / "run/feedback")).day(2)).about["tasks"]
    assert 0 < day["conversion"]["lost"] < day["click"]["lost"]


def test_a_day_that_is_joined_again_gives_the_same_run(recipe_file: Path, negative: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(negative, out)
    for name in ("results", "results.jsonl", "feedback/day=002", "feedback/day=003/manifest.json"):
        (shutil.rmtree if (out / name).is_dir() else Path.unlink)(out / name)
    for place in out.glob("checkpoints/*-seed0"):
        shutil.rmtree(place)
    for place in out.glob("snapshots/*-seed0"):
        shutil.rmtree(place)
    assert run_small(recipe_file, out, *CLOSED_EARLY) == (negative / "results.jsonl").read_bytes()


@pytest.mark.parametrize("damage", ["shifted", "short", "long"])
def test_feedback_of_other_rows_is_never_trained_on(
    recipe_file: Path, negative: Path, tmp_path: Path, damage: str
) -> None:
    recipe = Recipe.model_validate(small_content(methods=["none"], das={"feedback": {"windows": {"click": 60}}}))
    experiment = claimed(recipe, tmp_path / "run")
    shutil.copytree(negative / "days", tmp_path / "run" / "days")
    place = experiment.feedback(1)
    assert place is not None
    rows = pa.concat_tables(read_rows(Location.of(str(negative / "feedback")).day(1), [EVENT_ID, "label_click"]))
    damaged = {
        "shifted": pa.concat_tables([rows.slice(1), rows.slice(0, 1)]),
        "short": rows.slice(0, 2_999),
        "long": pa.concat_tables([rows, rows.slice(0, 1)]),
    }[damage]
    commit(place, [write_part(place, 0, damaged)], {}, Stopwatch.start())
    with pytest.raises(DataError, match=r"feedback .* is not row-aligned with its day partition"):
        produce(experiment, open_dataset(recipe.data), None)


@pytest.mark.parametrize(
    ("feedback", "message"),
    [
        ("{windows: {like: 60}}", "windows: 'like' is no task of the data; choose from click"),
        ("{windows: {click: 0}}", "windows.click: 0: input should be greater than or equal to 1"),
        ("{windows: {click: 2592001}}", "windows.click: 2592001: input should be less than or equal to 2592000"),
        ("{late: ignore}", "late: 'ignore': input should be 'negative' or 'drop'"),
        ("{window: 60}", "window: there is no such field; did you mean 'windows'?"),
    ],
)
def test_a_mistake_in_the_window_is_told_in_one_line(
    recipe_file: Path, tmp_path: Path, feedback: str, message: str
) -> None:
    edit = f"das.feedback={feedback}"
    result = exfm("run", str(recipe_file), "--out", str(tmp_path / "run"), "--set", edit)
    assert result.exit_code == 2
    assert f"das.feedback.{message}" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_data_without_delays_have_no_window(recipe_file: Path, negative: Path, tmp_path: Path) -> None:
    days = tmp_path / "days"
    shutil.copytree(negative / "days", days)
    schema = json.loads((days / "schema.json").read_text())
    before = open_dataset(small_data(days)).schema
    changed = before.model_copy(update={"has_delays": False})
    (days / "schema.json").write_text(json.dumps(schema | {"has_delays": False}))
    for manifest in days.glob("day=*/manifest.json"):
        manifest.write_text(manifest.read_text().replace(before.fingerprint(), changed.fingerprint()))
    edits = (f"data={{type: partitions, path: {days}}}", "das.feedback.late=drop")
    options = [option for edit in edits for option in ("--set", edit)]
    result = exfm("run", str(recipe_file), "--out", str(tmp_path / "run"), *options)
    assert result.exit_code == 2
    assert "das.feedback: is given, but the data does not say when its labels came" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def small_data(days: Path) -> Any:
    return Recipe.model_validate(small_content(data={"type": "partitions", "path": str(days)})).data
