"""Whoever dies in the middle of a run, it ends, and its results are those of an undisturbed one."""

import time
from pathlib import Path
from random import Random

import pytest

from tests.chaos.driver import Driver
from tests.chaos.killer import KINDS, Killer
from tests.chaos.nodes import Nodes

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3_600)]

KILLS, SEED = 20, 7
CALM_SECONDS = (0.5, 8.0)
"""between two kills, at least and at most"""
PATIENCE_SECONDS = 10.0
"""for a victim of one kind to appear"""


@pytest.mark.parametrize("kind", KINDS)
def test_results_do_not_tell_who_died(
    kind: str, recipe: Path, expected: bytes, three_nodes: Nodes, tmp_path: Path
) -> None:
    driver = Driver(recipe, tmp_path / "run", three_nodes.address)
    killer = Killer(three_nodes, driver, Random(SEED))
    driver.wait_for((tmp_path / "run" / "snapshots" / "fm" / "day=001" / "manifest.json").exists)
    driver.wait_for(lambda: killer.kill(kind))
    assert driver.finish() == expected


def test_results_do_not_tell_of_twenty_deaths(
    recipe: Path, expected: bytes, three_nodes: Nodes, tmp_path: Path
) -> None:
    chance, done, runs = Random(SEED), list[str](), 0
    while len(done) < KILLS:
        driver = Driver(recipe, tmp_path / f"run{runs}", three_nodes.address)
        killer, runs = Killer(three_nodes, driver, chance), runs + 1
        while driver.is_running and len(done) < KILLS:
            time.sleep(chance.uniform(*CALM_SECONDS))
            done += kill_some(driver, killer, chance)
        assert driver.finish() == expected, f"after {done}"
    assert {*done} == {*KINDS}


def kill_some(driver: Driver, killer: Killer, chance: Random) -> list[str]:
    """One victim, of the first kind in a random order that has one in time; none where the run ends before."""
    for kind in chance.sample(KINDS, len(KINDS)):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while driver.is_running and time.monotonic() < deadline:
            if killer.kill(kind):
                return [kind]
            time.sleep(0.01)
    return []
