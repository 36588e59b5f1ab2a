"""Supervision goes on whatever dies in the middle of a day, and its side-cars are those of an undisturbed run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from exfm_ray.config import DriftData, Recipe
from exfm_ray.das.augmentation import augment_days
from exfm_ray.das.deployment import serving
from exfm_ray.das.pointer_at import pointer_at
from exfm_ray.data.commit import MANIFEST
from exfm_ray.data.drift.source import DriftSource
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows
from exfm_ray.data.prepare import prepare
from exfm_ray.train.launch import train_foundation_model
from tests.conftest import claimed, small_content
from tests.das.zookeeper_server import ZooKeeperServer

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

COLUMNS = ["event_id", "fm_click", "fm_snapshot"]

SUPERVISE = """
    import sys
    from contextlib import closing
    from pathlib import Path
    from exfm_ray.cluster import ray_cluster
    from exfm_ray.das.augmentation import augment_days
    from exfm_ray.das.deployment import serving
    from exfm_ray.das.pointer_at import pointer_at
    from exfm_ray.data.experiment import Experiment
    from exfm_ray.quiet import quieten

    experiment = Experiment.model_validate_json(Path(sys.argv[1]).read_text())
    logs = experiment.run.local_directory() / "logs"
    quieten(logs)
    with ray_cluster(experiment.recipe, None, logs):
        address = experiment.pointer
        with closing(pointer_at(address)) as pointer, serving(experiment, address) as (application, handle):
            augment_days(experiment, application, pointer, handle)
"""


def recipe(**das: Any) -> Recipe:
    """Five supervised days of many small requests, so that there is a middle of a day to disturb."""
    content = small_content()
    content["data"] |= {"days": 6, "events_per_day": 40_000, "parts_per_day": 8}
    content["das"] = {"rows_per_request": 100, **das}
    return Recipe.model_validate(content)


def with_snapshots(root: Path) -> Experiment:
    """A run in this process whose days and whose FM are done."""
    experiment = claimed(recipe(), root)
    assert isinstance(experiment.recipe.data, DriftData)
    prepare(DriftSource(experiment.recipe.data), Location(experiment.dataset))
    train_foundation_model(experiment)
    return experiment


def copied(experiment: Experiment, root: Path, **das: Any) -> Experiment:
    """The same run elsewhere, to go on with in the processes of a cluster."""
    shutil.copytree(experiment.root, root)
    settings = Recipe.model_validate(recipe(**das).model_dump() | {"resources": {"mode": "ray"}})
    places = {"root": str(root), "dataset": str(root / "days")}
    return experiment.model_copy(update={"recipe": settings, **places})


def supervised(experiment: Experiment) -> list[pa.Table]:
    return [next(read_rows(experiment.supervision(day), COLUMNS, 10**6)) for day in experiment.supervised_days]


def in_the_middle_of(experiment: Experiment, day: int, process: subprocess.Popen[Any]) -> None:
    """Return while the day's side-car has files but is not complete."""
    place = Path(experiment.supervision(day).uri)
    while not any(place.glob("part-*")):
        assert process.poll() is None, "supervision ended too early"
        time.sleep(0.005)
    assert not (place / MANIFEST).exists(), "the day was over too soon to be disturbed"


def kill_all(process: subprocess.Popen[Any], title: str, place: Path) -> None:
    """`kill -9` each process of the cluster that Ray calls so, as soon as there is one.

    Args:
        place: of the day's side-car, which must not be complete before.
    """
    family = psutil.Process(process.pid).children(recursive=True)
    while not (victims := [child for child in family if _called(child, title)]):
        assert not (place / MANIFEST).exists(), f"no {title} was there before the day was over"
        family = psutil.Process(process.pid).children(recursive=True)
    for victim in victims:
        with suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGKILL)


def _called(process: psutil.Process, title: str) -> bool:
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline()).startswith(title)
    return False


@pytest.mark.slow
def test_side_cars_do_not_tell_what_died(tmp_path: Path, own_zookeeper: ZooKeeperServer) -> None:
    calm = with_snapshots(tmp_path / "calm")
    wild = copied(calm, tmp_path / "wild", pointer=f"zookeeper://{own_zookeeper.hosts}/exfm")
    with serving(calm, calm.pointer) as (application, handle):
        augment_days(calm, application, pointer_at(calm.pointer), handle)

    (tmp_path / "experiment.json").write_text(wild.model_dump_json())
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SUPERVISE), str(tmp_path / "experiment.json")],
        stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip

    def restart_within_the_session() -> None:
        own_zookeeper.kill()
        own_zookeeper.start()

    def restart_after_the_session() -> None:
        own_zookeeper.kill()
        time.sleep(11)  # a pointer's sessions last 10 s
        own_zookeeper.start()

    disturbances: list[Callable[[], None]] = [
        lambda: kill_all(process, "ray::ServeReplica", Path(wild.supervision(2).uri)),
        lambda: kill_all(process, "ray::Map", Path(wild.supervision(3).uri)),
        restart_within_the_session,
        restart_after_the_session,
    ]
    for day, disturb in enumerate(disturbances, start=2):
        in_the_middle_of(wild, day, process)
        disturb()
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert all(ours.equals(theirs) for ours, theirs in zip(supervised(wild), supervised(calm), strict=True))
    manifests = [json.loads((wild.supervision(day) / MANIFEST).read()) for day in wild.supervised_days]
    assert [manifest["rows"] for manifest in manifests] == [40_000] * 5
