"""Who may die in a run, and how."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import psutil

from tests.chaos.driver import Driver
from tests.chaos.nodes import Nodes
from tests.chaos.processes import title


class Killer:
    """Kills one process, or one node, of a run on a cluster. The dead are replaced where Ray does not do so itself.

    Args:
        chance: decides between several victims.
    """

    def __init__(self, nodes: Nodes, driver: Driver, chance: Random) -> None:
        self._nodes, self._driver, self._chance = nodes, driver, chance
        self._kinds: dict[str, Callable[[], bool]] = {
            "driver": self._kill_driver,
            "FM worker": lambda: self._kill_writer("checkpoints/fm/*/manifest.json"),
            "VM worker": lambda: self._kill_writer("checkpoints/*-*/*/manifest.json"),
            "Train controller": lambda: self._kill_called("ray::TrainController"),
            "fleet's queue": lambda: self._kill_called("ray::WorkQueue"),
            "Serve replica": lambda: self._kill_called("ray::ServeReplica"),
            "Serve controller": lambda: self._kill_called("ray::ServeController"),
            "Data worker": lambda: self._kill_called("ray::Map("),
            "node": self._kill_node,
        }

    def kill(self, kind: str) -> bool:
        """Whether there was one of a kind (of `KINDS`) to kill."""
        return self._kinds[kind]()

    def _kill_driver(self) -> bool:
        """And start the same command again, at once."""
        self._driver.kill()
        self._driver.start()
        return True

    def _kill_node(self) -> bool:
        """And let another one join."""
        self._nodes.kill(self._chance.choice(self._nodes.others))
        self._nodes.add()
        return True

    def _kill_called(self, name: str) -> bool:
        return self._kill_one([process for process in self._nodes.processes() if title(process).startswith(name)])

    def _kill_writer(self, commits: str) -> bool:
        """A worker of Ray Train that made one of the run's commits."""
        made = {pid for manifest in self._driver.out.glob(commits) if (pid := _maker(manifest)) is not None}
        workers = [process for process in self._nodes.processes() if title(process).startswith("ray::RayTrainWorker")]
        return self._kill_one([process for process in workers if process.pid in made])

    def _kill_one(self, found: list[psutil.Process]) -> bool:
        if not found:
            return False
        victim = self._chance.choice(sorted(found, key=lambda process: process.pid))
        try:
            os.kill(victim.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


KINDS = (
    "driver",
    "FM worker",
    "VM worker",
    "Train controller",
    "fleet's queue",
    "Serve replica",
    "Serve controller",
    "Data worker",
    "node",
)
"""Serve has no proxy in a run, which opens no port"""


def _maker(manifest: Path) -> int | None:
    """Process that made a commit; None where it was deleted meanwhile."""
    try:
        pid = json.loads(manifest.read_text())["made"]["process"]
    except FileNotFoundError:
        return None
    assert isinstance(pid, int)
    return pid
