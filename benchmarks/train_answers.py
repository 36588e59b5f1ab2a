"""What every side of benchmarks/train.py answers when it is told to work; nothing of exfm_ray is imported here."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any


def answer(parameters: int, libraries: Sequence[str], tasks: Mapping[str, Callable[[], Any]]) -> None:
    """Say what this side is, then do the task of each line of the standard input and say what it took.

    Each answer is one line of JSON; a library may print other lines between them.

    Args:
        parameters: of its model.
        libraries: packages whose versions are told.
        tasks: by the line that asks for them.
    """
    about = {"parameters": parameters, "versions": {library: version(library) for library in libraries}}
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        started, used = time.perf_counter(), time.process_time()
        result = tasks[line.strip()]()
        taken = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - used}
        print(json.dumps({**taken, "peak_bytes": peak_bytes(), "result": result}), flush=True)


def peak_bytes() -> int:
    """The most memory that this process has had at once: the high-water mark of its resident set."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


class Stages:
    """CPU seconds of a step by what they were spent on."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._started, self._since = time.process_time(), time.thread_time()

    def end(self, stage: str) -> None:
        """What this thread used since the last call belongs to the stage."""
        now = time.thread_time()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._since
        self._since = now

    def per_step(self, steps: int) -> dict[str, float]:
        """Of every stage, and of all other threads together: what reads ahead works beside the steps."""
        beside = time.process_time() - self._started - sum(self._seconds.values())
        return {stage: seconds / steps for stage, seconds in {**self._seconds, "other threads": beside}.items()}
