"""The whole loop on Ray: Train, Serve and Data in processes of their own, killed and continued."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.conftest import small_content

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

RESOURCES = {"fleet_workers": 2, "wait_timeout_seconds": 120}


def command(recipe: Path, out: Path, *edits: str) -> list[str]:
    options = [option for edit in edits for option in ("--set", edit)]
    return [sys.executable, "-m", "exfm_ray.cli", "run", str(recipe), "--out", str(out), *options]


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


def wait_for(place: Path, process: subprocess.Popen[Any]) -> None:
    """Until a file is there; fails where the process ends before."""
    while not place.exists():
        assert process.poll() is None, "the run ended too early"
        time.sleep(0.05)


def committed(out: Path) -> dict[Path, bytes]:
    """What must never be made again."""
    kept = [*out.glob("days/**/manifest.json"), *out.glob("snapshots/**/manifest.json")]
    kept += [*out.glob("supervision/**/manifest.json"), *out.glob("results/**/*.json")]
    return {path: path.read_bytes() for path in kept}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(yaml.safe_dump(small_content(seeds=[0, 1], resources=RESOURCES)))
    return path


@pytest.fixture(scope="module")
def expected(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Results of the same recipe in one process."""
    out = tmp_path_factory.mktemp("local") / "run"
    done = run(recipe, out, "resources.mode=local")
    assert done.returncode == 0, done.stderr
    return (out / "results.jsonl").read_bytes()


@pytest.fixture
def no_ray_left() -> Iterator[None]:
    """Every process of Ray that a test started is gone soon after it."""
    before = {process.pid for process in psutil.process_iter() if _is_ray(process)}
    yield
    deadline = time.monotonic() + 60
    while left := [p for p in psutil.process_iter() if p.pid not in before and _is_ray(p)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.5)


def _is_ray(process: psutil.Process) -> bool:
    try:
        name = process.name()
        return process.status() != psutil.STATUS_ZOMBIE and (
            name.startswith("ray::") or name in ("raylet", "gcs_server")
        )
    except psutil.NoSuchProcess:
        return False


@pytest.mark.usefixtures("no_ray_left")
def test_many_processes_give_the_numbers_of_one(recipe: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(recipe, out)
    assert done.returncode == 0, done.stderr
    assert (out / "results.jsonl").read_bytes() == expected
    assert "train and evaluate VMs: 32/32 VM days" in done.stdout
    assert "ray" not in done.stderr.lower()
    assert (out / "logs" / "driver.log").stat().st_size > 0
    outcomes = [json.loads(path.read_text()) for path in out.glob("results/**/*.json")]
    driver = {json.loads(path.read_text())["made"]["process"] for path in out.glob("days/*/manifest.json")}
    workers = {outcome["made"]["process"] for outcome in outcomes}
    assert len(workers) == 2  # the fleet's
    assert not workers & driver
    before = committed(out)
    assert run(recipe, out).returncode == 0
    assert committed(out) == before


@pytest.mark.usefixtures("no_ray_left")
def test_a_killed_driver_goes_on_to_the_same_results(recipe: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(command(recipe, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(out / "supervision" / "fm" / "day=002" / "manifest.json", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(2)  # its workers die with it; what they were writing must not count
    before = committed(out)
    assert not (out / "results.jsonl").exists()
    done = run(recipe, out)
    assert done.returncode == 0, done.stderr
    assert (out / "results.jsonl").read_bytes() == expected
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.usefixtures("no_ray_left")
@pytest.mark.slow
def test_killed_trainers_are_replaced(recipe: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(command(recipe, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(out / "snapshots" / "fm" / "day=001" / "manifest.json", process)
    family = psutil.Process(process.pid).children(recursive=True)
    victims = [child for child in family if " ".join(child.cmdline()).startswith("ray::RayTrainWorker")]
    for child in victims:
        child.kill()
    assert victims, "nothing to kill"
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert (out / "results.jsonl").read_bytes() == expected


@pytest.mark.usefixtures("no_ray_left")
def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(recipe: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(command(recipe, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(out / "snapshots" / "fm" / "day=001" / "manifest.json", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines() == ["exfm: interrupted; the same command goes on from here"]
    assert run(recipe, out).returncode == 0
    assert (out / "results.jsonl").read_bytes() == expected


SPREAD = """
    import sys
    from pathlib import Path
    import pyarrow.parquet as pq
    from exfm_ray.cluster import ray_cluster, spread
    from exfm_ray.config import Recipe
    from exfm_ray.data.drift.source import DriftSource
    from exfm_ray.data.location import Location
    from exfm_ray.data.partitions import read_rows
    from exfm_ray.data.prepare import prepare
    from exfm_ray.quiet import quieten
    from tests.conftest import small_content

    recipe, root = Recipe.model_validate(small_content()), Path(sys.argv[1])
    quieten(root / "logs")
    here, there = Location.of(f"{root}/here"), Location.of(f"{root}/there")
    prepare(DriftSource(recipe.data), here)
    with ray_cluster(recipe, None, root / "logs"):
        prepare(DriftSource(recipe.data), there, spread=spread)
    for day in range(1, 5):
        columns = ["event_id", "event_time", "user_id", "truth_click", "label_click"]
        (one,), (other,) = (list(read_rows(place.day(day), columns, 10**6)) for place in (here, there))
        assert one.equals(other), day
    print("equal")
"""


@pytest.mark.usefixtures("no_ray_left")
def test_days_made_by_ray_tasks_are_those_of_one_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SPREAD), str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.stdout.strip() == "equal", done.stderr


def test_an_address_that_does_not_answer_is_told(recipe: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*command(recipe, tmp_path / "run"), "--address", "127.0.0.1:1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("exfm: --address: nobody answers at '127.0.0.1:1'")
    assert not (tmp_path / "run").exists()
