"""What a Ray Train run is said to need, and whether it has it."""

from pathlib import Path

import pytest

import exfm_ray.train.launch
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.location import Location
from exfm_ray.data.run_clock import note_start
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.train.launch import HasStarted, worker_words


def test_workers_in_words() -> None:
    assert worker_words("the FM", 1, 0) == "a worker for the FM (1 CPU)"
    assert worker_words("the FM", 1, 1) == "a worker for the FM (1 CPU and 1 GPU)"
    assert worker_words("the VMs", 3, 0.5) == "3 workers for the VMs (1 CPU and 0.5 GPUs each)"
    assert worker_words("the VMs", (2, 8), 0) == "2 workers for the VMs (1 CPU each)"


def test_a_run_has_started_once_one_of_its_own_workers_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exfm_ray.train.launch, "LOOK_SECONDS", -1.0)
    run = RunDirectory(Location.of(str(tmp_path)))
    has_started = HasStarted(run, "fleet-ab")
    assert not has_started()
    note_start(run, "fleet", "fleet-cd-0", Stopwatch.start())
    assert not has_started()
    note_start(run, "fleet", "fleet-ab-1", Stopwatch.start())
    assert has_started()
    run.starts.delete()
    assert has_started()
