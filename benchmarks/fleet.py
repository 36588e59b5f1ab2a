"""Many VMs at once on one machine: time on the clock beside what it may be, and what one more VM costs.

    python benchmarks/fleet.py [--quick] [--json FILE] [--figure FILE] [--vms 1 6 24] [--rows N] [--rounds N]

Each point is `exfm run` with so many VMs and one FM for all of them; the points take turns, and figures are medians
over the rounds. For the time on the clock "theirs" is the most that is allowed, for the cost of one more VM it is that
of a VM with an FM of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import yaml
from machine import describe_machine
from train_table import print_rows

from exfm_ray.data.location import Location
from exfm_ray.data.run_clock import read_commands
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.report.overlap import overlap
from exfm_ray.report.results import read_results
from exfm_ray.report.sessions import sessions
from exfm_ray.report.work import STEP_KINDS, StepKind, read_work

VMS = (1, 6, 24)
DAYS = 4
"""of which VMs live through the last three: the FM must have seen the first"""
ROWS, QUICK_ROWS = 200_000, 20_000
"""per day, of all domains"""
DOMAINS = 3
ROUNDS, QUICK_ROUNDS = 3, 1
SLACK, START_SECONDS = 1.3, 30.0
"""what is allowed beside perfect use of all cores and the FM's chain, as a factor and in seconds"""


@dataclass(frozen=True)
class Run:
    """One `exfm run`."""

    wall: float
    """seconds of the whole command"""
    seconds: Mapping[StepKind, float]
    """summed over pieces"""
    cpu_seconds: Mapping[StepKind, float]
    starting: float
    """seconds of start-up on the critical path"""
    path: float
    """seconds of the critical path"""

    @property
    def vm_cpu_seconds(self) -> float:
        """Of training and evaluation."""
        return self.cpu_seconds["vm_training"] + self.cpu_seconds["vm_evaluation"]

    @property
    def fm_cpu_seconds(self) -> float:
        """Of training and supervision."""
        return self.cpu_seconds["fm"] + self.cpu_seconds["supervision"]

    @property
    def allowed(self) -> float:
        """Seconds on the clock."""
        cores = os.cpu_count() or 1
        return SLACK * self.cpu_seconds["vm_training"] / cores + self.seconds["fm"] + START_SECONDS


def recipe(vms: int, rows: int, days: int = DAYS) -> dict[str, Any]:
    """So many VMs, dealt over the domains, each taught by the one FM."""
    model = {"type": "deepfam", "embedding_dim": 16, "hidden": [64, 32]}
    return {
        "name": f"fleet-{vms}",
        "data": {"type": "drift", "days": days, "events_per_day": rows, "domains": DOMAINS, "stages": ["later"]},
        "fm": {"model": {"type": "dcnv2", "embedding_dim": 16, "cross_layers": 2, "hidden": [128, 64]}},
        "vms": [{"name": f"vm{number:02d}", "domain": number % DOMAINS, "model": model} for number in range(vms)],
        "methods": ["ah"],
    }


def run(place: Path, vms: int, rows: int) -> Run:
    """One run from an empty directory.

    Raises:
        RuntimeError: it failed; its words are told.
    """
    place.mkdir()
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe(vms, rows)))
    command = [sys.executable, "-m", "exfm_ray.cli", "run", str(place / "recipe.yaml"), "--out", str(place / "run")]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(f"exfm run with {vms} VMs ended with {done.returncode}: {done.stderr[-2_000:]}")
    return measured(RunDirectory(Location.of(str(place / "run"))), wall)


def measured(directory: RunDirectory, wall: float) -> Run:
    """What a finished run says of itself."""
    pieces = read_work(directory, read_results(directory))
    found = overlap(sessions(read_commands(directory), pieces), directory.recipe())
    assert found is not None, "a run that has just ended has its pieces"
    seconds: dict[StepKind, float] = dict.fromkeys(STEP_KINDS, 0.0)
    cpu_seconds: dict[StepKind, float] = dict.fromkeys(STEP_KINDS, 0.0)
    for piece in pieces:
        seconds[piece.kind] += piece.made.seconds
        cpu_seconds[piece.kind] += piece.made.cpu_seconds or 0.0
    return Run(wall, seconds, cpu_seconds, found.path_by_part.get("start", 0.0), found.path)


def rows_of(runs: Mapping[int, Sequence[Run]]) -> list[dict[str, Any]]:
    """Time on the clock beside what is allowed for each number of VMs; what one more VM costs beside an FM for each.

    Args:
        runs: by the number of VMs, one per round; the fewest stand for those with an FM of their own.
    """
    found = [_clock_row(vms, of_vms) for vms, of_vms in runs.items()]
    fewest, most = min(runs), max(runs)
    if fewest < most:
        pairs = [
            ((many.vm_cpu_seconds - few.vm_cpu_seconds + many.fm_cpu_seconds - few.fm_cpu_seconds) / (most - fewest),
             few.vm_cpu_seconds / fewest + few.fm_cpu_seconds)
            for few, many in zip(runs[fewest], runs[most], strict=True)
        ]  # fmt: skip
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        found.append(
            {
                "what": "CPU time of one more VM beside one with an FM of its own, all its work",
                "ours": round(ours, 2),
                "theirs": round(theirs, 2),
                "unit": "CPU s",
                "ratio": round(theirs / ours, 3),
            }
        )
    return found


def _clock_row(vms: int, runs: Sequence[Run]) -> dict[str, Any]:
    def median(values: Sequence[float]) -> float:
        return round(statistics.median(values), 2)

    wall, allowed = median([one.wall for one in runs]), median([one.allowed for one in runs])
    return {
        "what": f"time on the clock beside what is allowed, {vms} VM{'' if vms == 1 else 's'}",
        "ours": wall,
        "theirs": allowed,
        "unit": "s",
        "ratio": round(allowed / wall, 3),
        "vms": vms,
        "vm_training_cpu_seconds": median([one.cpu_seconds["vm_training"] for one in runs]),
        "vm_evaluation_cpu_seconds": median([one.cpu_seconds["vm_evaluation"] for one in runs]),
        "fm_chain_seconds": median([one.seconds["fm"] for one in runs]),
        "fm_cpu_seconds": median([one.fm_cpu_seconds for one in runs]),
        "start_up_seconds": median([one.starting for one in runs]),
        "critical_path_seconds": median([one.path for one in runs]),
    }


def print_parts(rows: Sequence[Mapping[str, Any]]) -> None:
    """What each number of VMs took, part by part."""
    names = ("vm_training_cpu_seconds", "vm_evaluation_cpu_seconds", "fm_chain_seconds", "fm_cpu_seconds",
             "start_up_seconds", "critical_path_seconds")  # fmt: skip
    for row in rows:
        if "vms" in row:
            print(f"{row['vms']} VMs: " + ", ".join(f"{name.replace('_', ' ')} {row[name]:,.1f}" for name in names))


def write_figure(place: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One HTML file that needs nothing else: CPU seconds per VM where all share an FM, and where each has its own."""
    points = [row for row in rows if "vms" in row]
    cost = [row["vm_training_cpu_seconds"] + row["vm_evaluation_cpu_seconds"] for row in points]
    vms, fm = [row["vms"] for row in points], [row["fm_cpu_seconds"] for row in points]
    alone = cost[0] / vms[0] + fm[0]
    figure = go.Figure()
    shared = [(own + of_fm) / count for own, of_fm, count in zip(cost, fm, vms, strict=True)]
    figure.add_scatter(name="one FM for all", mode="lines+markers", x=vms, y=shared)
    figure.add_scatter(name="an FM for each", mode="lines+markers", x=vms, y=[alone] * len(vms), line_dash="dot")
    figure.add_scatter(
        name="the VM alone", mode="lines+markers", x=vms, y=[own / count for own, count in zip(cost, vms, strict=True)]
    )
    figure.update_layout(
        title="CPU seconds per VM: training, evaluation and its part of the FM",
        xaxis={"title": "VMs"},
        yaxis={"title": "CPU seconds per VM", "rangemode": "tozero"},
    )
    figure.write_html(place, include_plotlyjs=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short days, one round")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    parser.add_argument("--figure", type=Path, help="HTML file that the costs are drawn in")
    parser.add_argument("--vms", nargs="+", type=int, default=list(VMS))
    parser.add_argument("--rows", type=int, help="of a day, of all domains")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args(arguments)
    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    machine = describe_machine("numpy", "pyarrow", "ray", "torch")
    runs: dict[int, list[Run]] = {vms: [] for vms in options.vms}
    with tempfile.TemporaryDirectory() as place:
        for number in range(rounds):
            for vms in options.vms:
                runs[vms].append(run(Path(place) / f"{vms}-{number}", vms, rows))
    found = rows_of(runs)
    print_rows(found)
    print_parts(found)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")
    if options.figure:
        write_figure(options.figure, found)


if __name__ == "__main__":
    main()
