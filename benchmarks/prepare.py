"""Preparing TaobaoAd: `exfm prepare taobao` beside FuxiCTR's preprocessing, each as a user would run it.

    python benchmarks/prepare.py [--quick] [--json FILE] [--fuxictr PYTHON]

FuxiCTR reads TaobaoAd_x1, where histories are made already. We read the same x1 files, and the raw ones, where the
histories must be made first. Sides take turns; figures are medians over the rounds. CPU seconds are those of all
processes of a side, Ray's own included, for both sides run on Ray.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from machine import describe_machine
from prepare_data import write_raw, write_x1
from processes import watching

HERE = Path(__file__).parent
ENVIRONMENT = HERE.parent / ".bench" / "bin" / "python"
BEHAVIORS_PER_IMPRESSION = 4
"""The published log has 27: 723,268,134 for 26,557,961 impressions."""


@dataclass(frozen=True)
class Sizes:
    impressions: int
    x1_rows: int
    rounds: int


FULL, QUICK = Sizes(5_000_000, 400_000, 3), Sizes(400_000, 40_000, 1)


@dataclass(frozen=True)
class Round:
    rows: int
    cpu_seconds: float
    seconds: float
    largest_process: float
    """MiB that one process had at its peak, shared memory counted with it"""

    @property
    def rows_per_cpu_second(self) -> float:
        return self.rows / self.cpu_seconds


class _Peaks:
    """The high-water mark of every process that is looked at."""

    def __init__(self) -> None:
        self.largest = 0.0

    def __call__(self, process: psutil.Process) -> str:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        marks = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]
        self.largest = max([self.largest, *marks])
        return "all"


def run_side(python: str, script: str, path: Path, out: Path, rows: int) -> Round:
    """One side, one preparation into an empty directory."""
    shutil.rmtree(out, ignore_errors=True)
    command, peaks = [python, str(HERE / script), str(path), str(out)], _Peaks()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with watching(process.pid, peaks) as usage:
            answer = next((line for line in process.stdout if line.startswith(b'{"seconds"')), None)
        if answer is None:
            assert process.stderr is not None
            raise RuntimeError(f"{script} ended: {process.stderr.read().decode()[-2_000:]}")
        process.stdin.close()
        process.stdout.read()
    return Round(rows, usage().all_cpu_seconds, json.loads(answer)["seconds"], peaks.largest)


def measure(sizes: Sizes, fuxictr: str) -> list[dict[str, Any]]:
    """All sides in alternating rounds."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name in ("raw", "x1"):
            (root / name).mkdir()
        write_raw(root / "raw", sizes.impressions, BEHAVIORS_PER_IMPRESSION * sizes.impressions)
        write_x1(root / "x1", sizes.x1_rows)
        sides = {
            "raw": (sys.executable, "prepare_ours.py", root / "raw", root / "out", sizes.impressions),
            "x1": (sys.executable, "prepare_ours.py", root / "x1", root / "out", sizes.x1_rows),
            "theirs": (fuxictr, "prepare_fuxictr.py", root / "x1", root / "out", sizes.x1_rows),
        }
        rounds: dict[str, list[Round]] = {name: [] for name in sides}
        for _ in range(sizes.rounds):
            for name, side in sides.items():
                rounds[name].append(run_side(*side))
                print(f"  {name}: {rounds[name][-1]}, load average {os.getloadavg()[0]:.1f}", flush=True)
    return _rows(rounds, sizes)


def _rows(rounds: dict[str, list[Round]], sizes: Sizes) -> list[dict[str, Any]]:
    behaviors = BEHAVIORS_PER_IMPRESSION * sizes.impressions
    named = {
        "x1": f"the same {sizes.x1_rows:,} rows of x1",
        "raw": f"raw, {sizes.impressions:,} impressions and {behaviors:,} behaviours, beside x1",
    }
    found = []
    for name, what in named.items():
        ours, theirs = (statistics.median(one.rows_per_cpu_second for one in rounds[key]) for key in (name, "theirs"))
        found.append(_row(f"rows per CPU second, {what}", ours, theirs, "rows/s", ours / theirs))
        mine, yours = (max(one.largest_process for one in rounds[key]) for key in (name, "theirs"))
        found.append(_row(f"peak memory of the largest process, {what}", mine, yours, "MiB", yours / mine))
    return found


def _row(what: str, ours: float, theirs: float, unit: str, ratio: float) -> dict[str, Any]:
    return {"what": what, "ours": round(ours, 1), "theirs": round(theirs, 1), "unit": unit, "ratio": round(ratio, 3)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows, one round")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    parser.add_argument("--rounds", type=int, help=f"{FULL.rounds} where it is left out, {QUICK.rounds} with --quick")
    parser.add_argument("--fuxictr", type=Path, default=ENVIRONMENT, metavar="PYTHON", help="interpreter with it")
    options = parser.parse_args(arguments)
    if not options.fuxictr.exists():
        raise SystemExit(f"{options.fuxictr} is not there: run `make bench-env`, or name an interpreter with FuxiCTR")
    sizes = QUICK if options.quick else FULL
    if options.rounds:
        sizes = Sizes(sizes.impressions, sizes.x1_rows, options.rounds)
    machine = describe_machine("numpy", "pyarrow", "ray")
    found = measure(sizes, str(options.fuxictr))
    for row in found:
        print(f"{row['what']}: ours {row['ours']}, theirs {row['theirs']} {row['unit']}, ratio {row['ratio']}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
