"""The head dies, which a cluster does not outlive unless Redis keeps what it knew: no result changes either way."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.driver import Driver
from tests.chaos.nodes import Nodes, nodes
from tests.chaos.processes import family
from tests.chaos.redis_server import RedisServer

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3_600)]

END_SECONDS = 240.0
"""for a driver to end whose head is gone; Ray waits 60 seconds for another"""
DEATHS: dict[str, Callable[[Nodes], None]] = {"GCS": Nodes.kill_gcs, "whole node": Nodes.kill_head}


@pytest.mark.parametrize("what", DEATHS)
def test_the_driver_says_so_and_the_same_command_goes_on_with_another_cluster(
    what: str, recipe: Path, expected: bytes, tmp_path: Path
) -> None:
    with nodes(2) as lost:
        driver = Driver(recipe, tmp_path / "run", lost.address)
        driver.wait_for((tmp_path / "run" / "snapshots" / "fm" / "day=001" / "manifest.json").exists)
        DEATHS[what](lost)
        (line,) = driver.fail(END_SECONDS)
        assert line.startswith(f"exfm: the cluster at {driver.address} is gone")
        assert "goes on from what is committed" in line
    with nodes(2) as other:
        driver.address = other.address
        driver.start()
        assert driver.finish() == expected


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_the_driver_says_so_where_its_own_ray_ends(name: str, recipe: Path, expected: bytes, tmp_path: Path) -> None:
    driver = Driver(recipe, tmp_path / "run", None)
    driver.wait_for((tmp_path / "run" / "snapshots" / "fm" / "day=001" / "manifest.json").exists)
    (victim,) = [process for process in family(driver.process.pid) if process.name() == name]
    victim.kill()
    (line,) = driver.fail(END_SECONDS)
    assert line.startswith("exfm: Ray on this machine is gone")
    driver.start()
    assert driver.finish() == expected


@pytest.fixture
def nodes_with_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    with closing(RedisServer(tmp_path / "redis")) as server:
        monkeypatch.setenv("RAY_REDIS_ADDRESS", server.address)
        with nodes(2) as opened:
            yield opened


def test_with_redis_the_run_outlives_the_gcs(
    recipe: Path, expected: bytes, nodes_with_redis: Nodes, tmp_path: Path
) -> None:
    driver = Driver(recipe, tmp_path / "run", nodes_with_redis.address)
    for day in (1, 3):
        driver.wait_for((tmp_path / "run" / "snapshots" / "fm" / f"day={day:03d}" / "manifest.json").exists)
        nodes_with_redis.kill_gcs()
        time.sleep(5)  # a supervisor needs some time to notice
        nodes_with_redis.start_gcs()
    assert driver.finish() == expected
    assert "is gone" not in driver.said()
