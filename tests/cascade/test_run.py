"""A run with a cascade: its lines by plain loops, resumed, killed, spread over Ray tasks, and free of leaks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from exfm_ray.cascade import stages
from exfm_ray.cascade.evaluate import evaluate_cascades, evaluate_day
from exfm_ray.cascade.plan import cascade_files, domain_cascades
from exfm_ray.cli import app
from exfm_ray.config import Recipe
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.drift.requests import Requests
from exfm_ray.data.encode import encode
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import Outcome
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.simulation import produce, write_results
from tests.cascade.small import CASCADE, cascade_content
from tests.conftest import claimed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A finished run, not to be changed."""
    recipe = Recipe.model_validate(cascade_content())
    experiment = claimed(recipe, tmp_path_factory.mktemp("finished") / "run")
    produce(experiment, open_dataset(recipe.data), None)
    write_results(experiment)
    return experiment


def lines(experiment: Experiment) -> list[dict[str, Any]]:
    return [json.loads(line) for line in experiment.run.cascade_file.read().splitlines()]


def copied(experiment: Experiment, root: Path) -> Experiment:
    shutil.copytree(experiment.root, root)
    return experiment.model_copy(update={"root": str(root), "dataset": str(root / "days")})


def test_there_is_a_line_for_every_domain_common_method_seed_and_day(finished: Experiment) -> None:
    found = [
        (line["domain"], line["method"], line["seed"], line["train_day"], line["eval_day"]) for line in lines(finished)
    ]
    assert found == [(d, m, 0, t - 1, t) for d, m in ((0, "none"), (0, "ah"), (1, "none")) for t in (3, 4)]
    assert domain_cascades(finished.recipe)[1].lacking(finished.recipe) == {"ah": ("second_later",)}
    assert [line["fm_snapshot"] for line in lines(finished)] == [None, None, "fm/day=001", "fm/day=002", None, None]


def plain_scores(place: Location, day: int, requests: Requests, pairs: list[tuple[int, int]]) -> list[float]:
    """Logits of a snapshot for pairs of request and candidate, by the ordinary forward pass."""
    database = SnapshotDatabase(place)
    model, facts = database.load(day)
    numbers, candidates = (np.array(side) for side in zip(*pairs, strict=True))
    with torch.no_grad():
        logits = model(encode(requests.features(numbers, candidates), facts.inputs, database.vocabularies(day)))
    return [float(logit) for logit in logits[:, 0]]


@pytest.mark.parametrize("place", range(6))
def test_a_line_is_what_plain_loops_find(finished: Experiment, place: int) -> None:
    line = lines(finished)[place]
    requests = Requests(finished.recipe.data, line["eval_day"], line["domain"], 30, 150)  # type: ignore[arg-type]
    passed: dict[str, list[float]] = {stage: [] for stage in line["vms"]}
    of_entered: dict[str, list[float]] = {stage: [] for stage in line["vms"]}
    shown_truth = best_truth = 0.0
    for request in range(30):
        ads = list(range(150))
        truth = dict(enumerate(requests.truth(np.full(150, request), np.arange(150))))
        by_truth = sorted(ads, key=lambda ad: -truth[ad])
        for stage, count in zip(line["vms"], (40, 12, 4), strict=True):
            snapshots = finished.run.snapshots(f"{line['vms'][stage]}-{line['method']}-seed0")
            scores = plain_scores(snapshots, line["train_day"], requests, [(request, ad) for ad in ads])
            score_of = dict(zip(ads, scores, strict=True))
            best_entered = sorted(ads, key=lambda ad: -truth[ad])[:count]
            ads = sorted(sorted(ads, key=lambda ad: -score_of[ad])[:count])
            passed[stage].append(len(set(ads) & set(by_truth[:count])) / count)
            of_entered[stage].append(len(set(ads) & set(best_entered)) / count)
        shown_truth += sum(truth[ad] for ad in ads)
        best_truth += sum(truth[ad] for ad in by_truth[:4])
    for stage in line["vms"]:
        assert line["recall"][stage] == pytest.approx(np.mean(passed[stage]), abs=1e-12)
        assert line["recall_of_entered"][stage] == pytest.approx(np.mean(of_entered[stage]), abs=1e-12)
    assert line["value"] == pytest.approx(shown_truth / best_truth, rel=1e-9)
    assert line["recall"]["retrieval"] == line["recall_of_entered"]["retrieval"]


def test_references_are_what_plain_loops_find(finished: Experiment) -> None:
    line = lines(finished)[3]
    requests = Requests(finished.recipe.data, 4, 0, 30, 150)  # type: ignore[arg-type]
    by_chance = best = by_fm = best_of_seven = 0.0
    recalls = []
    for request in range(30):
        truth = requests.truth(np.full(150, request), np.arange(150))
        order = sorted(range(150), key=lambda ad: -truth[ad])
        by_chance += 4 * truth.mean()
        best += truth[order[:4]].sum()
        if request < 7:
            scores = plain_scores(finished.snapshots, 3, requests, [(request, ad) for ad in range(150)])
            shown = sorted(range(150), key=lambda ad: -scores[ad])[:4]
            by_fm += truth[shown].sum()
            best_of_seven += truth[order[:4]].sum()
            recalls.append(len({*shown} & {*order[:4]}) / 4)
    assert line["value_random"] == pytest.approx(by_chance / best)
    assert (line["fm_requests"], line["value_fm"]) == (7, pytest.approx(by_fm / best_of_seven))
    assert line["recall_fm"] == pytest.approx(np.mean(recalls))


def test_only_snapshots_of_the_day_before_are_read(finished: Experiment, tmp_path: Path) -> None:
    """Day 4 again, where nothing else of the run is left: no logged day, no side-car, no other snapshot."""
    alone = copied(finished, tmp_path / "run")
    kept = list((tmp_path / "run").glob("snapshots/*/day=003"))
    for path in [*(tmp_path / "run").glob("snapshots/*/day=*"), *(tmp_path / "run").iterdir()]:
        if path not in kept and path.name not in ("snapshots", "recipe.yaml"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert len(kept) == 12
    evaluate_day(alone, 2)  # day 3 has places 0 and 1
    made = Outcome.model_validate_json(alone.run.cascade_outcome_file(0, "ah", 0, 4).read())
    assert made.line == lines(finished)[3]
    assert not alone.run.cascade_outcome_file(0, "ah", 0, 3).is_file()


def test_requests_in_pieces_give_the_same_line(
    finished: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = copied(finished, tmp_path / "run")
    place = again.run.cascade_outcome_file(0, "ah", 0, 3)
    place.delete()
    monkeypatch.setattr(stages, "PAIRS_AT_ONCE", 4 * 150)  # four requests at once
    evaluate_day(again, 0)
    line, expected = Outcome.model_validate_json(place.read()).line, lines(finished)[2]
    for metric in ("recall", "recall_of_entered"):  # products of other sizes may round otherwise, and tip a close call
        assert line[metric] == pytest.approx(expected[metric], abs=0.01)
    assert line["value"] == pytest.approx(expected["value"], rel=0.01)
    assert (line["value_random"], line["fm_requests"]) == (expected["value_random"], 7)


def test_what_is_missing_is_made_again_and_nothing_else(finished: Experiment, tmp_path: Path) -> None:
    again = copied(finished, tmp_path / "run")
    files = cascade_files(again)
    before = {file.uri: file.read() for file in files}
    for file in (again.run.cascade_file, files[1], files[4]):
        file.delete()
    evaluate_cascades(again)
    write_results(again)
    assert again.run.cascade_file.read() == finished.run.cascade_file.read()
    assert all(file.read() == before[file.uri] for place, file in enumerate(files) if place not in (1, 4))


def test_a_run_without_a_cascade_has_the_same_results(finished: Experiment, tmp_path: Path) -> None:
    recipe = Recipe.model_validate(cascade_content(evaluate={}))
    experiment = claimed(recipe, tmp_path / "run")
    produce(experiment, open_dataset(recipe.data), None)
    write_results(experiment)
    assert experiment.run.results_file.read() == finished.run.results_file.read()
    assert not experiment.run.cascade_file.is_file()


def test_killed_and_started_again_equals_undisturbed(finished: Experiment, tmp_path: Path) -> None:
    recipe, out = tmp_path / "cascade.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(cascade_content()))
    again = copied(finished, out)
    for file in (*cascade_files(again), again.run.cascade_file, again.run.results_file):
        file.delete()
    command = [sys.executable, "-m", "exfm_ray.cli", "run", str(recipe), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not cascade_files(again)[0].is_file():
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not again.run.cascade_file.is_file()
    before = {file.uri: file.read() for file in cascade_files(again) if file.is_file()}
    done = CliRunner().invoke(app, ["run", str(recipe), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert again.run.cascade_file.read() == finished.run.cascade_file.read()
    assert all(Location(uri).read() == content for uri, content in before.items())


SPREAD = """
    import sys
    from pathlib import Path
    from exfm_ray.cascade.evaluate import evaluate_cascades
    from exfm_ray.cluster import task_cluster
    from exfm_ray.data.location import Location
    from exfm_ray.data.run_directory import RunDirectory
    from exfm_ray.existing_run import experiment_of
    from exfm_ray.simulation import write_results

    root = Path(sys.argv[1])
    experiment = experiment_of(RunDirectory(Location.of(str(root))))
    with task_cluster(None, root / "logs") as spread:
        evaluate_cascades(experiment, spread)
    write_results(experiment)
"""


@pytest.mark.ray
def test_ray_tasks_give_the_bytes_of_one_process(finished: Experiment, tmp_path: Path) -> None:
    again = copied(finished, tmp_path / "run")
    for file in (*cascade_files(again), again.run.cascade_file):
        file.delete()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SPREAD), again.root],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert again.run.cascade_file.read() == finished.run.cascade_file.read()
    processes = {json.loads(file.read())["made"]["process"] for file in cascade_files(again)}
    assert processes.isdisjoint({os.getpid()})


TOWERS = "{type: two_tower, item_fields: [ad_id, hour]}"
WRONG = [
    ("evaluate.cascade.early=40", "evaluate.cascade: early is 40, but must be less than retrieved, which is 40"),
    ("evaluate.cascade.shown=0", "evaluate.cascade.shown: 0: input should be greater than or equal to 1"),
    ("evaluate.cascade.retreived=9", "evaluate.cascade.retreived: there is no such field; did you mean 'retrieved'?"),
    ("evaluate.cascade.fm_requests=31", "fm_requests is 31, but there are 30 requests; lower it"),
    ("evaluate.cascade.candidates=201", "evaluate.cascade.candidates: 201 are more than the 200 of data.ads"),
    ("evaluate.cascade.domains=[2]", "evaluate.cascade.domains: 2 is not in the data; its domains are 0 to 1"),
    ("evaluate.cascade.domains=[0, 0]", "domains repeats a value"),
    ("data.tasks=[like]", "task: 'click' is not in the data"),
    ("vms.early.stage=later", "evaluate.cascade: domain 0 needs one click VM in the stage early, found none; add or"),
    ("vms.later.domain=1", "evaluate.cascade: domain 0 needs one click VM in the stage later, found none"),
    ("vms.retrieval.model={type: fam}", "vms.0 (retrieval).model.type: 'fam' in the stage retrieval cannot look at"),
    (f"vms.retrieval.model={TOWERS}", "vms.0 (retrieval).model.item_fields: ad_id, hour are not the features of an ad"),
    ("vms.second_later.methods=[kd]", "evaluate.cascade: the VMs of domain 1 have no method in common: second_retriev"),
    ("data={type: partitions, path: PLACE}", "evaluate.cascade: needs ads whose true probability is known, but data"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "said"), WRONG)
def test_a_wrong_cascade_is_told_in_one_line(finished: Experiment, tmp_path: Path, edit: str, said: str) -> None:
    recipe = tmp_path / "cascade.yaml"
    recipe.write_text(yaml.safe_dump(cascade_content()))
    edit = edit.replace("PLACE", finished.dataset)
    done = CliRunner().invoke(app, ["run", str(recipe), "--out", str(tmp_path / "run"), "--set", edit])
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_domains_may_be_chosen(tmp_path: Path) -> None:
    content = cascade_content(evaluate={"cascade": CASCADE | {"domains": [1]}})
    assert [cascade.domain for cascade in domain_cascades(Recipe.model_validate(content))] == [1]


def test_a_grid_has_no_cascade(tmp_path: Path) -> None:
    content = cascade_content()
    content["fms"] = [content.pop("fm")]
    recipe = tmp_path / "grid.yaml"
    recipe.write_text(yaml.safe_dump(content))
    done = CliRunner().invoke(app, ["run", str(recipe), "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "evaluate.cascade is for a recipe with one FM; leave it out, or give fm in place of fms" in done.stderr
