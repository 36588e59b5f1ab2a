"""Runs and studies handed to a real head by Ray's job API: followed, found again, stopped, fetched, by token."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE
from typing import Any

import optuna
import pytest
import yaml

from tests.conftest import small_content
from tests.ray_head import Head
from tests.tune.studies import study_content

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


def exfm(head: Head, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
    return run(*arguments, env=environment(head, token))


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), env=env, capture_output=True, text=True, check=False)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "exfm_ray.cli", *arguments]


def environment(head: Head, token: str | None = None) -> dict[str, str]:
    shown = {} if token is None else {"RAY_AUTH_TOKEN": token}
    return head.environment() | shown | {"RAY_ADDRESS": "http://127.0.0.1:1"}  # which --address must win over


def job_of(output: str) -> str:
    found = re.search(r"^job: +(\S+),", output, re.MULTILINE)
    assert found is not None, output
    return found.group(1)


def applications(head: Head) -> dict[str, Any]:
    """What Ray Serve runs there."""
    found: dict[str, Any] = json.loads(head.ask("/api/serve/applications/"))["applications"]
    return found


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small_content()))
    return path


def test_a_job_gives_the_numbers_of_a_run_here(started_head: Head, recipe: Path, tmp_path: Path) -> None:
    here, out, to = tmp_path / "here", tmp_path / "there", tmp_path / "fetched"
    assert run("run", str(recipe), "--out", str(here)).returncode == 0
    arguments = ("submit", str(recipe), "--address", started_head.address, "--out", str(out), "--to", str(to))
    done = exfm(started_head, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "train and evaluate VMs: 16/16 VM days" in done.stdout
    assert (to / "results.jsonl").read_bytes() == (here / "results.jsonl").read_bytes()
    assert (to / "report" / "index.html").read_bytes() == (out / "report" / "index.html").read_bytes()
    again = exfm(started_head, *arguments)  # a second job in the same run directory, where nothing is left to do
    assert again.returncode == 0, again.stderr
    assert job_of(again.stdout) == job_of(done.stdout).removesuffix("1") + "2"


def test_the_exit_code_is_the_jobs(started_head: Head, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    edits = ("--set", "data.days=5")
    there = ("--address", started_head.address, "--out", str(out))
    assert exfm(started_head, "submit", str(recipe), *there).returncode == 0
    other = exfm(started_head, "submit", str(recipe), *there, *edits)
    assert other.returncode == 2
    assert "its data.days is 4, not 5" in other.stdout


def test_nothing_is_told_without_the_token(started_head: Head, recipe: Path, tmp_path: Path) -> None:
    there = ("submit", str(recipe), "--address", started_head.address, "--out", str(tmp_path / "run"))
    refused = exfm(started_head, *there, token="another")
    assert refused.returncode == 2
    assert "does not know the token" in refused.stderr
    without = {key: value for key, value in environment(started_head).items() if not key.startswith("RAY_AUTH")}
    missing = run(*there, env={**without, "RAY_AUTH_MODE": "disabled"})
    assert missing.returncode == 2
    assert "asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in missing.stderr
    assert refused.stderr.count("\n") == missing.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_job_unknown_to_the_cluster_is_told(started_head: Head) -> None:
    for arguments in (("logs", "nobody"), ("stop", "nobody"), ("fetch", "nobody", "--to", "/nowhere")):
        done = exfm(started_head, "job", *arguments, "--address", started_head.address)
        assert done.returncode == 2
        assert "JOB: 'nobody' is no job of the cluster" in done.stderr


def test_a_job_goes_on_when_nobody_follows_and_leaves_nothing_when_it_is_stopped(
    started_head: Head, tmp_path: Path
) -> None:
    recipe, out = tmp_path / "long.yaml", tmp_path / "run"
    content = small_content(resources={"fleet_workers": 1, "wait_timeout_seconds": 120})
    recipe.write_text(yaml.safe_dump(content | {"data": content["data"] | {"events_per_day": 300_000}}))
    there = ("--address", started_head.address)
    submitting = command("submit", str(recipe), *there, "--out", str(out))
    process = subprocess.Popen(submitting, env=environment(started_head), stdout=PIPE, stderr=PIPE)
    while not (out / "recipe.yaml").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, told = (stream.decode() for stream in process.communicate())
    assert process.returncode == 130
    job = job_of(output)
    assert f"no longer followed; the job goes on; end it: exfm job stop {job}" in told
    found = exfm(started_head, "submit", str(recipe), *there, "--out", str(out), "--no-follow")
    assert "at work already" in found.stdout
    assert job_of(found.stdout) == job
    early = exfm(started_head, "job", "fetch", job, *there, "--to", str(tmp_path / "fetched"))
    assert early.returncode == 2
    assert "no results yet" in early.stderr
    while not applications(started_head):
        time.sleep(0.5)
    stopped = exfm(started_head, "job", "stop", job, *there)
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout == f"{job} has ended: stopped\n"
    shown = exfm(started_head, "job", "logs", job, *there)
    assert shown.returncode == 130
    assert "interrupted; the same command goes on from here" in shown.stdout
    deadline = time.monotonic() + 60
    while left := applications(started_head):
        assert time.monotonic() < deadline, f"still served: {list(left)}"
        time.sleep(0.5)


@pytest.mark.timeout(1_800)
def test_a_study_is_stopped_goes_on_and_comes_home(started_head: Head, tmp_path: Path) -> None:
    study, out, to, here = (tmp_path / name for name in ("study.yaml", "there", "fetched", "here"))
    content = study_content(trials=30)  # so that it is not over before it is stopped
    resources = {"fleet_workers": 1, "wait_timeout_seconds": 300}
    study.write_text(yaml.safe_dump(content | {"recipe": content["recipe"] | {"resources": resources}}))
    there = ("--address", started_head.address)
    first = exfm(started_head, "submit", str(study), *there, "--out", str(out), "--no-follow")
    assert first.returncode == 0, first.stderr
    job = job_of(first.stdout)
    while not (out / "study.db").exists():
        assert json.loads(started_head.ask(f"/api/jobs/{job}"))["status"] in ("PENDING", "RUNNING")
        time.sleep(0.5)
    stopped = exfm(started_head, "job", "stop", job, *there)
    assert stopped.stdout == f"{job} has ended: stopped\n", stopped.stderr
    assert not (out / "results.jsonl").exists()
    again = exfm(started_head, "submit", str(study), *there, "--out", str(out), "--to", str(to))
    assert again.returncode == 0, again.stdout + again.stderr
    assert job_of(again.stdout) == job.removesuffix("1") + "2"
    alone = run("tune", str(study), "--out", str(here), "--set", "recipe.resources={mode: local}")
    assert alone.returncode == 0, alone.stderr
    assert (to / "results.jsonl").read_bytes() == (here / "results.jsonl").read_bytes()
    for name in ("chosen.json", "study.db", "trials.jsonl", "report/index.html", "simulation/report/index.html"):
        assert (to / name).is_file(), name
    assert values_of(to / "study.db") == values_of(here / "study.db")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(content["recipe"]))
    taken = run("run", str(recipe), "--out", str(tmp_path / "run"), "--set-from", str(to))
    assert taken.returncode == 0, taken.stderr


def values_of(database: Path) -> list[list[float]]:
    """Of all trials, by number, as Optuna reads them."""
    (summary,) = optuna.get_all_study_summaries(f"sqlite:///{database}")
    trials = optuna.load_study(study_name=summary.study_name, storage=f"sqlite:///{database}").trials
    return [trial.values for trial in trials]
