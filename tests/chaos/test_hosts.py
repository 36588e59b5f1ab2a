"""Hosts of their own addresses: one is cut off in the middle of a run, and brought back."""

import time
from pathlib import Path

import pytest

from tests.chaos.driver import Driver
from tests.chaos.hosts import PORT, alive, hosts

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3_600)]


def test_a_host_that_is_cut_off_and_comes_back_changes_no_result(recipe: Path, expected: bytes, tmp_path: Path) -> None:
    log = tmp_path / "ray.txt"
    with hosts(3, log) as (head, *others):
        driver = Driver(recipe, tmp_path / "run", f"{head.address}:{PORT}", inside=head.inside)
        driver.wait_for((tmp_path / "run" / "snapshots" / "fm" / "day=001" / "manifest.json").exists)
        victim = next(host for host in others if host.runs("ray::RayTrainWorker"))
        victim.cut_off()
        driver.wait_for(lambda: alive(head) == 2)
        time.sleep(5)  # its processes go on meanwhile, and write what nobody needs
        victim.bring_back()
        victim.wait_until_left()
        victim.start(log)
        assert driver.finish() == expected
