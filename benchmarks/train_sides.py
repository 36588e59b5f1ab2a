"""Two sides in alternating rounds: what each used, and how they compare."""

import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import AskedProcess

HERE = Path(__file__).parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Side:
    """How a side is started."""

    script: str
    settings: str
    """JSON"""
    python: str = sys.executable
    task: str = "round"
    """what a round is, and with `warm` what comes before the first"""

    def start(self) -> AskedProcess:
        command = [self.python, "-W", "ignore", str(HERE / self.script), self.settings]
        return AskedProcess(command, {**os.environ, **ONE_THREAD})


@dataclass(frozen=True)
class Round:
    """One side, once over the measured day."""

    rows: int
    cpu_seconds: float
    seconds: float
    peak_bytes: int
    """of the process up to its end"""

    @property
    def rows_per_cpu_second(self) -> float:
        return self.rows / self.cpu_seconds

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds

    @property
    def peak_mebibytes(self) -> float:
        return self.peak_bytes / 2**20


@dataclass(frozen=True)
class Comparison:
    """All rounds of two sides on the same rows, but for the first, which warms up."""

    ours: Sequence[Round]
    theirs: Sequence[Round]
    parameters: tuple[int, int]
    """of our model and of theirs"""
    versions: dict[str, str]
    """of the library on their side"""
    stages: tuple[dict[str, float], dict[str, float]] | None
    """CPU seconds per step by stage, ours and theirs"""

    def row(
        self, what: str, unit: str, figure: Callable[[Round], float], *, less_is_better: bool = False
    ) -> dict[str, Any]:
        """A line of the JSON: medians of each side, and the median of the rounds' ratios."""
        pairs = [(figure(mine), figure(yours)) for mine, yours in zip(self.ours, self.theirs, strict=True)]
        ratio = statistics.median(yours / mine if less_is_better else mine / yours for mine, yours in pairs)
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        return {
            "what": what,
            "ours": round(ours, 1),
            "theirs": round(theirs, 1),
            "unit": unit,
            "ratio": round(ratio, 3),
        }


def compare(ours: Side, theirs: Side, rounds: int, *, stages: bool = False) -> Comparison:
    """Start both, warm both up, and let them take turns.

    Raises:
        RuntimeError: a side failed, or they did not read equally many rows.
    """
    with closing(ours.start()) as first, closing(theirs.start()) as second:
        processes = ((ours, first), (theirs, second))
        mine, yours = (told(process, process.read()) for _, process in processes)
        for side, process in processes:
            _asked(process, "warm" if side.task == "round" else f"warm {side.task}")
        pairs = [[asked_round(process, side.task) for side, process in processes] for _ in range(rounds)]
        split = tuple(_asked(process, "stages")["result"] for _, process in processes) if stages else None
    for one, other in pairs:
        if one.rows != other.rows:
            raise RuntimeError(f"{ours.script} read {one.rows} rows but {theirs.script} {other.rows}")
    parameters = mine["parameters"], yours["parameters"]
    return Comparison([one for one, _ in pairs], [other for _, other in pairs], parameters, yours["versions"], split)


def asked_round(process: AskedProcess, task: str) -> Round:
    """One round of a side that has been started."""
    used = _asked(process, task)
    return Round(used["result"], used["cpu_seconds"], used["seconds"], used["peak_bytes"])


def _asked(process: AskedProcess, what: str) -> dict[str, Any]:
    return told(process, process.ask(what))


def told(process: AskedProcess, line: str) -> dict[str, Any]:
    """The next line that is an answer; libraries print others."""
    while not line.startswith("{"):
        line = process.read()
    answer: dict[str, Any] = json.loads(line)
    return answer
