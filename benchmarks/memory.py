"""Peak memory of each process of whole runs: what more VMs and more days add to it.

    python benchmarks/memory.py [--quick] [--json FILE] [--vms 1 6 24] [--days 3 6 12] [--rows N] [--kept-gib G]
        [--rounds N]

Each point is `exfm run`, whose processes are looked at ten times a second; "theirs" is the first point of its axis.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import yaml
from fleet import recipe
from machine import describe_machine
from train_table import print_rows

from exfm_ray.data.location import Location
from exfm_ray.data.run_clock import read_starts
from exfm_ray.data.run_directory import RunDirectory

VMS, DAYS = (1, 6, 24), (3, 6, 12)
"""days that VMs live through; the FM has seen one before"""
FIXED_VMS, FIXED_DAYS = 6, 3
ROWS, QUICK_ROWS = 400_000, 20_000
"""per day, of all domains"""
ROUNDS = 1
LOOK_SECONDS = 0.1
MIB = 2**20

Kind = Literal["fleet worker", "FM worker", "replica", "driver", "all processes"]
KINDS: tuple[Kind, ...] = ("fleet worker", "FM worker", "replica", "driver", "all processes")


@dataclass(frozen=True)
class Peak:
    """Of one process, or of the largest of its kind."""

    own: int
    """bytes of private memory at the most seen, without shared memory, mapped files and program text (RssAnon)"""
    resident: int
    """bytes of resident memory at the most, with all of them, as the kernel kept count (VmHWM)"""


class Watched:
    """The processes of a command, from its start to its end."""

    def __init__(self, root: int) -> None:
        self._root = root
        self.peaks: dict[int, Peak] = {}
        self.names: dict[int, str] = {}
        self.together = 0
        """bytes of private memory of all processes when they had most"""

    def look(self) -> None:
        now = 0
        for process in [psutil.Process(self._root), *psutil.Process(self._root).children(recursive=True)]:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                name = " ".join(process.cmdline())
            except (OSError, psutil.Error):
                continue  # it has ended
            own, resident = _bytes(status, "RssAnon"), _bytes(status, "VmHWM")
            before = self.peaks.get(process.pid, Peak(0, 0))
            self.peaks[process.pid] = Peak(max(before.own, own), max(before.resident, resident))
            if name.startswith("ray::ServeReplica") or process.pid not in self.names:
                self.names[process.pid] = name
            now += own
        self.together = max(self.together, now)


def _bytes(status: str, field: str) -> int:
    """A field of /proc/<pid>/status; 0 where a process that ends has it no more."""
    lines = [line.split() for line in status.splitlines() if line.startswith(f"{field}:")]
    return int(lines[0][1]) * 1_024 if lines else 0


def run(place: Path, vms: int, days: int, rows: int, kept_gib: float | None) -> dict[Kind, Peak]:
    """The peaks of one run from an empty directory; those of the largest process where there are several of a kind.

    Args:
        days: that VMs live through.

    Raises:
        RuntimeError: it failed; its words are told.
    """
    place.mkdir()
    content = recipe(vms, rows, days + 1)
    if kept_gib is not None:
        content["resources"] = {"kept_gib": kept_gib}
    (place / "recipe.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "exfm_ray.cli", "run", str(place / "recipe.yaml"), "--out", str(place / "run")]
    with (place / "said.txt").open("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        watched = Watched(process.pid)
        while process.poll() is None:
            watched.look()
            time.sleep(LOOK_SECONDS)
        if process.returncode != 0:
            said.seek(0)
            raise RuntimeError(f"exfm run with {vms} VMs ended with {process.returncode}: {said.read()[-2_000:]}")
    return _by_kind(watched, process.pid, RunDirectory(Location.of(str(place / "run"))))


def _by_kind(watched: Watched, driver: int, directory: RunDirectory) -> dict[Kind, Peak]:
    started = {start.made.process: start.what for start in read_starts(directory)}
    of: dict[Kind, list[Peak]] = {kind: [] for kind in KINDS}
    for process, peak in watched.peaks.items():
        if process == driver:
            of["driver"].append(peak)
        elif started.get(process) == "fleet":
            of["fleet worker"].append(peak)
        elif started.get(process) == "fm":
            of["FM worker"].append(peak)
        elif watched.names[process].startswith("ray::ServeReplica"):
            of["replica"].append(peak)
    assert all(of[kind] for kind in KINDS if kind != "all processes"), "a run has a process of each kind"
    peaks = {
        kind: Peak(max(peak.own for peak in peaks), max(peak.resident for peak in peaks))
        for kind, peaks in of.items()
        if peaks
    }
    return peaks | {"all processes": Peak(watched.together, 0)}


def rows_of(axis: str, peaks: Mapping[int, Sequence[Mapping[Kind, Peak]]]) -> list[dict[str, Any]]:
    """Each kind of process at each point of an axis beside the first.

    Args:
        peaks: by the point, one per round.
    """
    medians = {
        point: {kind: statistics.median(one[kind].own for one in rounds) for kind in KINDS}
        for point, rounds in peaks.items()
    }
    resident = {
        point: {kind: statistics.median(one[kind].resident for one in rounds) for kind in KINDS}
        for point, rounds in peaks.items()
    }
    first = next(iter(medians))
    return [
        {
            "what": f"peak of the {kind}, {point} {axis} beside {first}",
            "ours": round(medians[point][kind] / MIB, 1),
            "theirs": round(medians[first][kind] / MIB, 1),
            "unit": "MiB",
            "ratio": round(medians[first][kind] / medians[point][kind], 3),
            "resident_mib": round(resident[point][kind] / MIB, 1),
        }
        for point in medians
        for kind in KINDS
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short days, the first and last point of each axis")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    parser.add_argument("--vms", nargs="*", type=int, default=list(VMS), help=f"each through {FIXED_DAYS} days")
    parser.add_argument("--days", nargs="*", type=int, default=list(DAYS), help=f"each with {FIXED_VMS} VMs")
    parser.add_argument("--rows", type=int, help="of a day, of all domains")
    parser.add_argument("--kept-gib", type=float, help="the recipe's resources.kept_gib; left out: its default")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    chosen = (lambda points: points[:: max(len(points) - 1, 1)]) if options.quick else list
    points = {
        "VMs": {vms: (vms, FIXED_DAYS) for vms in chosen(options.vms)},
        "days": {days: (FIXED_VMS, days) for days in chosen(options.days)},
    }
    machine = describe_machine("numpy", "pyarrow", "ray", "torch")
    found: dict[tuple[int, int], list[dict[Kind, Peak]]] = {
        point: [] for of_axis in points.values() for point in of_axis.values()
    }
    with tempfile.TemporaryDirectory() as place:
        for number in range(options.rounds):
            for vms, days in found:
                one = run(Path(place) / f"{vms}-{days}-{number}", vms, days, rows, options.kept_gib)
                found[vms, days].append(one)
                told = ", ".join(f"{kind} {one[kind].own / MIB:,.0f}" for kind in KINDS)
                print(f"{vms} VMs, {days} days, {rows:,} rows a day: {told} MiB", flush=True)
    figures = [
        row
        for axis, of_axis in points.items()
        if of_axis
        for row in rows_of(axis, {point: found[place] for point, place in of_axis.items()})
    ]
    print_rows(figures)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
