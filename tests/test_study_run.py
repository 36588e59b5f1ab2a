"""`exfm tune` whole: real trials on a real stream, killed and gone on with."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
import sqlalchemy.exc
import yaml

from exfm_ray.recipe import read_study
from tests.test_simulation import exfm
from tests.tune.studies import study_content


def written(place: Path, **changes: Any) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    path = place / "study.yaml"
    path.write_text(yaml.safe_dump(study_content(**changes)))
    return path


def tuned(study: Path, out: Path, *options: str) -> list[dict[str, Any]]:
    """The trials of a study that ran in this process."""
    result = exfm("tune", str(study), "--out", str(out), *options)
    assert result.exit_code == 0, result.output
    return trials_of(out)


def trials_of(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that has ended, not to be changed."""
    place = tmp_path_factory.mktemp("finished")
    tuned(written(place), place / "out")
    return place


def test_all_trials_end_and_the_chosen_one_is_reported_on_days_that_did_not_choose(finished: Path) -> None:
    trials = trials_of(finished / "out")
    assert [(trial["number"], trial["state"], trial["days"]) for trial in trials] == [
        (number, "complete", [3, 4]) for number in range(6)
    ]
    chosen = json.loads((finished / "out/chosen.json").read_text())
    assert chosen["trial"] == min(trials, key=lambda trial: trial["values"])["number"]
    lines = [json.loads(line) for line in (finished / "out/results.jsonl").read_text().splitlines()]
    own = [line for line in lines if line["vm"] == f"first-chosen{chosen['trial']:05d}"]
    assert [(line["seed"], line["eval_day"]) for line in own] == [(7, 3), (7, 4), (7, 5), (8, 3), (8, 4), (8, 5)]
    assert {line["method"] for line in lines if line["vm"] == "first"} == {"none", "kd", "ah"}
    page = (finished / "out/report/index.html").read_text()
    assert "days that did not choose it" in page
    assert "the default (1, 1, 1)" in page


def test_the_same_command_again_trains_nothing(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "out", tmp_path / "moved")
    before = trials_of(finished / "out")
    results = (finished / "out/results.jsonl").read_bytes()
    assert tuned(finished / "study.yaml", finished / "out") == before
    assert (finished / "out/results.jsonl").read_bytes() == results


def test_a_trial_in_company_gives_what_it_gives_alone(finished: Path, tmp_path: Path) -> None:
    alone = tuned(written(tmp_path, at_once=1), tmp_path / "out")
    assert alone == trials_of(finished / "out")


def test_more_trials_go_on_from_those_that_are_there(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    study = written(tmp_path)
    few = tuned(study, out, "--trials", "2")
    assert len(few) == 2
    assert tuned(study, out) == trials_of(finished / "out")


def test_a_point_that_harms_ends_early(tmp_path: Path) -> None:
    harmful = {"label_scale": 40, "grad_scale": 40, "loss_weight": 100}
    mild = [{"label_scale": 1, "grad_scale": 1, "loss_weight": weight} for weight in (0.5, 1)]
    study = written(
        tmp_path,
        space={"label_scale": [1, 40], "grad_scale": [1, 40], "loss_weight": [0.5, 1, 100]},
        points=[*mild, harmful],
        trials=3,
        at_once=2,
        pruner={"type": "median", "startup_trials": 2},
        recipe=study_content()["recipe"] | {"das": {"rows_per_request": 1024}},
    )
    trials = tuned(study, tmp_path / "out")
    assert [trial["state"] for trial in trials] == ["complete", "complete", "pruned"]
    assert trials[2]["days"] == [3]


def test_two_objectives_have_a_front(tmp_path: Path) -> None:
    recipe = study_content()["recipe"]
    recipe["vms"].append(recipe["vms"][0] | {"name": "other", "domain": 1})
    study = written(tmp_path, recipe=recipe, objective={"together": "pareto", "calibration_within": 5.0}, per_vm=True)
    trials = tuned(study, tmp_path / "out")
    assert all(len(trial["values"]) == 2 for trial in trials)
    assert set(json.loads((tmp_path / "out/chosen.json").read_text())["vms"]) == {"first", "other"}
    assert "the front" in (tmp_path / "out/report/index.html").read_text()


def test_a_grid_is_tried_once(tmp_path: Path) -> None:
    space = {"label_scale": [1, 2], "loss_weight": [0.5, 2]}
    grid = {"space": space, "sampler": {"type": "grid"}, "trials": 50}
    trials = tuned(written(tmp_path, **grid), tmp_path / "out")
    points = [(trial["params"]["label_scale"], trial["params"]["loss_weight"]) for trial in trials]
    assert sorted(points) == [(1, 0.5), (1, 2), (2, 0.5), (2, 2)]
    study = written(tmp_path, **grid, points=[{"label_scale": 1, "loss_weight": 0.5}])
    result = exfm("tune", str(study), "--out", str(tmp_path / "other"))
    assert result.exit_code == 2
    assert "points: a grid tries all of its points once" in result.stderr


def test_a_recipe_takes_what_a_study_chose(finished: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(study_content()["recipe"] | {"methods": ["ah"]}))
    result = exfm("run", str(recipe), "--out", str(tmp_path / "run"), "--set-from", str(finished / "out"))
    assert result.exit_code == 0, result.output
    chosen = json.loads((finished / "out/chosen.json").read_text())
    resolved = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())["recipe"]
    assert resolved["vms"][0]["distill"]["grad_scale"] == chosen["vms"]["first"]["distill"]["grad_scale"]
    own = [json.loads(line) for line in (finished / "out/results.jsonl").read_text().splitlines()][-6:]
    again = [json.loads(line) for line in (tmp_path / "run/results.jsonl").read_text().splitlines()]
    assert [line["ne"] for line in again] == [line["ne"] for line in own]


def test_killed_at_random_and_started_again_counts_every_trial_once(finished: Path, tmp_path: Path) -> None:
    chance, out = random.Random(5), tmp_path / "out"
    command = [sys.executable, "-m", "exfm_ray.cli", "tune", str(finished / "study.yaml"), "--out", str(out)]
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(out / "study.db", process)
        time.sleep(chance.uniform(0, 4))
        process.send_signal(signal.SIGKILL)
        process.wait()
    trials = tuned(finished / "study.yaml", out)
    assert trials == trials_of(finished / "out")


@pytest.mark.slow
def test_two_commands_share_a_study_and_one_is_killed_on_the_way(tmp_path: Path) -> None:
    """Every trial is one driver's and there once, both take part, and both choose the same point."""
    url = f"sqlite:///{tmp_path}/shared.db"
    study = written(tmp_path, at_once=2, choose_seeds=[0])
    one, two = tmp_path / "one", tmp_path / "two"
    command = [sys.executable, "-m", "exfm_ray.cli", "tune", str(study), "--storage", url, "--trials", "12", "--out"]

    def started(out: Path) -> "subprocess.Popen[str]":
        return subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    killed = started(one)
    wait_for_a_trial_of(one, url, killed)
    killed.kill()
    killed.wait()
    second = started(two)
    wait_for_a_trial_of(two, url, second)
    for process in (started(one), second):
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors
    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    assert [(trial.number, trial.state.name) for trial in trials] == [(number, "COMPLETE") for number in range(12)]
    assert {trial.user_attrs["driver"].split()[0] for trial in trials} == {str(one), str(two)}
    assert trials_of(one) == trials_of(two)
    assert (one / "chosen.json").read_bytes() == (two / "chosen.json").read_bytes()


def wait_for_a_trial_of(out: Path, url: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 240
    while process.poll() is None:
        with suppress(KeyError, sqlalchemy.exc.OperationalError):  # there is no study, or not even its tables, yet
            trials = optuna.load_study(study_name="study", storage=url).get_trials(deepcopy=False)
            if any(trial.user_attrs.get("driver", "").startswith(f"{out} ") for trial in trials):
                return
        assert time.monotonic() < deadline, f"no trial of {out} has begun"
        time.sleep(0.05)


def test_a_storage_that_holds_another_study_of_the_name_is_refused(tmp_path: Path) -> None:
    shared = ("--storage", f"sqlite:///{tmp_path}/shared.db", "--trials", "2")
    tuned(written(tmp_path), tmp_path / "one", *shared)
    result = exfm("tune", str(written(tmp_path, choose_seeds=[5])), "--out", str(tmp_path / "two"), *shared)
    assert result.exit_code == 2
    assert "--storage: holds another study 'study': its choose_seeds is [0, 1], not [5]" in result.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_driver_and_workers_killed_ten_times_on_ray_leave_the_trials_of_one_process(
    finished: Path, tmp_path: Path
) -> None:
    chance, out = random.Random(7), tmp_path / "out"
    edits = ("--set", "recipe.resources.mode=ray", "--set", "recipe.resources.fleet_workers=2", "--trials", "200")
    command = [sys.executable, "-m", "exfm_ray.cli", "tune", str(finished / "study.yaml"), "--out", str(out), *edits]
    killed = []
    process = None
    while len(killed) < 10:
        if process is None:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        workers = workers_of(process)
        time.sleep(chance.uniform(0, 3))
        assert process.poll() is None, f"it ended after {killed}; give it more trials"
        if chance.random() < 0.5 and workers:
            with suppress(psutil.NoSuchProcess):  # it may just have ended by itself
                chance.choice(workers).kill()
                killed.append("worker")
        else:
            process.kill()
            process.wait()
            process = None
            killed.append("driver")
    if process is not None:
        assert process.wait(timeout=600) == 0
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"worker", "driver"} == set(killed)
    alone = tuned(finished / "study.yaml", tmp_path / "alone", "--trials", "200")
    assert {trial["number"]: trial["values"] for trial in trials_of(out)} == {
        trial["number"]: trial["values"] for trial in alone
    }


def workers_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The processes that train trials, once there are two; those that die meanwhile are left out."""
    deadline = time.monotonic() + 180
    while process.poll() is None and time.monotonic() < deadline:
        found = []
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "TrialWorker" in " ".join(child.cmdline()):
                    found.append(child)
        if len(found) == 2:
            return found
        time.sleep(0.1)
    return []


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None:
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("space={}", "space: names nothing to search"),
        ("space.label_scale={low: 3, high: 1}", "low is 3 and high is 1; low must be less than high"),
        ("space.label_scale=[]", "space.label_scale"),
        ("space.lable_scale=[1]", "space.lable_scale: there is no such field; did you mean 'label_scale'?"),
        ("space.label_scale={low: 0, high: 1}", "low is 0, which has no logarithm"),
        ("space.grad_scale=[-1, 1]", "grad_scale: -1: input should be greater than or equal to 0"),
        ("space.adapter_width=[4]", "adapter_width: changes nothing for ah; add ah_sa to method"),
        ("vms=[third]", "vms: 'third' is no VM of the recipe; choose from first"),
        ("points=[{momentum: 1}]", "points.0: 'momentum' is not searched"),
        ("choose_through_day=5", "choose_through_day: 5 leaves none of the 5 days to report"),
        ("choose_through_day=2", "choose_through_day: 2 is before the first evaluated day, 3"),
        ("sampler.type=grid", "space.label_scale: a grid needs choices"),
        ("sampler.type=cma", "sampler.type"),
        ("trials=0", "trials: 0"),
        ("recipe.vms.first.domain=9", "domain: 9 is not in the data"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_nothing_is_written(tmp_path: Path, edit: str, message: str) -> None:
    result = exfm("tune", str(written(tmp_path)), "--out", str(tmp_path / "out"), "--set", edit)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["figure10", "figure11", "figure12", "kuairand"])
def test_the_studies_that_come_with_the_project_try_the_default_first_or_in_their_grid(name: str) -> None:
    study = read_study(str(Path(__file__).parents[1] / f"tuning/{name}.yaml"))
    if study.sampler.type == "grid":
        assert all(1.0 in study.space.values(dimension) for dimension in study.space.searched())
    else:
        assert set(study.points[0].values()) == {1.0}
    assert study.wanted_trials == study.trials
