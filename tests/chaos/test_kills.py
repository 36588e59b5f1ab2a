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
    chance = Random(SEED)
    left, runs = shuffled_kinds(chance), 0
    while left:
        driver = Driver(recipe, tmp_path / f"run{runs}", three_nodes.address)
        killer, runs = Killer(three_nodes, driver, chance), runs + 1
        while driver.is_running and left:
            time.sleep(chance.uniform(*CALM_SECONDS))
            kill_one_of(left, driver, killer)
        assert driver.finish() == expected, f"in run {runs}, where {left} were left"


def shuffled_kinds(chance: Random) -> list[str]:
    """Of KILLS victims, about as many of each kind."""
    kinds = [KINDS[number % len(KINDS)] for number in range(KILLS)]
    chance.shuffle(kinds)
    return kinds


def kill_one_of(left: list[str], driver: Driver, killer: Killer) -> None:
    """The first kind that has a victim in time, which is then no longer left; none where the run ends before."""
    for kind in dict.fromkeys(left):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while driver.is_running and time.monotonic() < deadline:
            if killer.kill(kind):
                left.remove(kind)
                return
            time.sleep(0.01)
