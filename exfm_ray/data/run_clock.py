"""When commands worked on a run, and what its processes took to start: what manifests cannot tell.

`<run>/commands/` has a file per command that found something to do, `<run>/starts/` one per process that got ready,
`<run>/help/` one per day of a model for each worker beside the one that commits it.
No result depends on them.
"""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from pydantic import BaseModel, ConfigDict

from exfm_ray.data.commit import Made, Stopwatch
from exfm_ray.data.run_directory import RunDirectory

Starting = Literal["ray", "fm", "fleet", "serve"]
"""Ray itself, the FM's trainer, a worker of the fleet, the FM's replicas"""


class Command(BaseModel):
    """One command that worked on a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    process: int
    started: float
    """seconds since the Unix epoch, once the recipe had been checked"""
    ended: float | None = None
    """None: it was killed, or still works"""


class Start(BaseModel):
    """What a process took from being asked for to doing what it is for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Starting
    slot: str
    """which of several processes it is; one that replaces a dead one has its slot"""
    made: Made


Helping = Literal["fm", "vm_training", "vm_evaluation"]


class Help(BaseModel):
    """What one of several workers of a model did for a day; the first worker's share is in what that one commits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Helping
    name: str
    """of the FM, or of the VM's variant"""
    day: int
    worker: int
    """from 1 on"""
    made: Made


@contextmanager
def noted_command(run: RunDirectory) -> Iterator[None]:
    """Note that this command works on the run for the time of the block."""
    command = Command(host=socket.gethostname(), process=os.getpid(), started=round(time.time(), 3))
    place = run.commands / f"{uuid.uuid4().hex}.json"
    place.write(command.model_dump_json(indent=1).encode())
    try:
        yield
    finally:
        ended = command.model_copy(update={"ended": round(time.time(), 3)})
        with suppress(OSError):  # on a full disk, say: whatever ended the command is the better message
            place.write(ended.model_dump_json(indent=1).encode())


def note_start(run: RunDirectory, what: Starting, slot: str, stopwatch: Stopwatch) -> None:
    """Note that a process has become ready.

    Args:
        stopwatch: started when it, or the first in its slot, was asked for.
    """
    place = run.starts / f"{slot}-{uuid.uuid4().hex[:8]}.json"
    place.write(Start(what=what, slot=slot, made=stopwatch.made()).model_dump_json(indent=1).encode())


def note_help(run: RunDirectory, what: Helping, name: str, day: int, worker: int, stopwatch: Stopwatch) -> Made:
    """Note what a worker beside the first has done for a day; if the day is done again, this is too."""
    made = stopwatch.made()
    place = run.help / name / f"{run.help.day(day).name}-{what}-worker{worker}.json"
    place.write(Help(what=what, name=name, day=day, worker=worker, made=made).model_dump_json(indent=1).encode())
    return made


def read_help(run: RunDirectory) -> list[Help]:
    """By model, day, and worker."""
    return [Help.model_validate_json(note.read()) for model in run.help.children() for note in model.children()]


def read_commands(run: RunDirectory) -> list[Command]:
    """By their start."""
    found = [Command.model_validate_json(place.read()) for place in run.commands.children()]
    return sorted(found, key=lambda command: command.started)


def read_starts(run: RunDirectory) -> list[Start]:
    """By their start."""
    found = [Start.model_validate_json(place.read()) for place in run.starts.children()]
    return sorted(found, key=lambda start: start.made.started)
