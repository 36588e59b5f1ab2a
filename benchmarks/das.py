"""Supervision of a day: a plain PyArrow + torch loop in one process beside Ray Data and Ray Serve, same FM, same rows.

    python benchmarks/das.py [--quick] [--json FILE] [--rows N] [--rounds N] [--settings seq cat20]

Both sides live through the whole session, warm up with a round that does not count, and then take turns. Figures are
medians over the rounds. CPU seconds are those of all processes of a side, Ray's own included.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
from das_data import SUPERVISED_DAY, prepare
from machine import describe_machine
from processes import AskedProcess, Usage, watching
from taobao_shape import Features

from exfm_ray.data.experiment import Experiment
from exfm_ray.data.partitions import read_rows
from exfm_ray.schema import EVENT_ID

HERE = Path(__file__).parent
SETTINGS: tuple[Features, ...] = ("seq", "cat20")
FULL_ROWS, QUICK_ROWS = 1_000_000, 131_072
FULL_ROUNDS, QUICK_ROUNDS = 3, 2
PROBABILITY_TOLERANCE = 1e-5
IDLE_SECONDS = 3.0
RAYS_OWN_ACTORS = ("ray::_", "ray::DashboardAgent")


@dataclass(frozen=True)
class Round:
    """One side, one pass over the day."""

    seconds: float
    usage: Usage


class Side:
    """A process that does the day once whenever it is told to."""

    def __init__(self, script: str, *arguments: str, kind_of: Callable[[psutil.Process], str]) -> None:
        self._asked = AskedProcess([sys.executable, str(HERE / script), *arguments])
        self._kind_of = kind_of
        self._asked.read()

    def ask(self, what: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._asked.ask(what))
        return answer

    def round(self) -> Round:
        with watching(self._asked.process_id, self._kind_of) as usage:
            answer = self.ask("round")
        return Round(answer["seconds"], usage())

    def idle(self) -> float:
        """CPU seconds per second that it uses when it has nothing to do."""
        with watching(self._asked.process_id, self._kind_of) as usage:
            time.sleep(IDLE_SECONDS)
        return usage().all_cpu_seconds / IDLE_SECONDS

    def close(self) -> None:
        self._asked.close()


def kind_of_ray_process(process: psutil.Process) -> str:
    """Which part of our side a process is."""
    title = " ".join(process.cmdline())
    for start, kind in (("ray::ServeReplica", "replica"), ("ray::ServeController", "Serve controller")):
        if title.startswith(start):
            return kind
    if title.startswith("ray::") and not title.startswith(RAYS_OWN_ACTORS):
        return "Data task"
    if process.name() in ("raylet", "gcs_server"):
        return "raylet and GCS"
    return "driver" if "das_service.py" in title else "Ray's agents"


@dataclass(frozen=True)
class Comparison:
    """All rounds of one setting."""

    setting: Features
    rows: int
    ours: list[Round]
    theirs: list[Round]
    largest_difference: float
    """between the probabilities of the two sides"""
    stages: dict[str, float]
    """CPU seconds per row of each stage of our side alone"""
    idle: float
    """CPU seconds per second of our side when it has nothing to do"""

    def json_rows(self) -> list[dict[str, Any]]:
        def per_core(one: Round) -> float:
            return self.rows / one.usage.all_cpu_seconds

        def on_the_clock(one: Round) -> float:
            return self.rows / one.seconds

        def mebibytes(one: Round) -> float:
            return one.usage.all_peak_bytes / 2**20

        return [
            self._row("rows per CPU second", per_core, "rows/s per core in use"),
            self._row("rows per second on the clock", on_the_clock, "rows/s"),
            self._row("peak memory of all processes", mebibytes, "MiB", less_is_better=True),
        ]

    def _row(
        self, what: str, figure: Callable[[Round], float], unit: str, *, less_is_better: bool = False
    ) -> dict[str, Any]:
        ours, theirs = (statistics.median(map(figure, rounds)) for rounds in (self.ours, self.theirs))
        ratio = theirs / ours if less_is_better else ours / theirs
        return {
            "what": f"{what}, DCNv2 {self.setting}",
            "ours": round(ours, 1),
            "theirs": round(theirs, 1),
            "unit": unit,
            "ratio": round(ratio, 3),
        }

    def where_the_rest_goes(self) -> str:
        """CPU seconds of our side by kind of process and by stage, per million rows, and its memory."""
        scale = 1e6 / self.rows
        ours, theirs = (
            statistics.median(one.usage.all_cpu_seconds * scale for one in rounds)
            for rounds in (self.ours, self.theirs)
        )
        kinds = sorted({kind for one in self.ours for kind in one.usage.cpu_seconds})
        of_processes, of_memory = {}, {}
        for kind in kinds:
            of_processes[kind] = statistics.median(one.usage.cpu_seconds.get(kind, 0.0) * scale for one in self.ours)
            of_memory[kind] = statistics.median(one.usage.peak_bytes.get(kind, 0) / 2**20 for one in self.ours)
        of_stages = {stage: seconds * 1e6 for stage, seconds in self.stages.items()}
        seconds = statistics.median(one.seconds for one in self.ours) * scale
        of_stages[f"{self.idle:.3f} of a core, which Ray uses idle, for {seconds:.0f} s"] = self.idle * seconds
        of_stages["everything else"] = ours - sum(of_stages.values())
        return "\n".join(
            [
                f"  CPU seconds per million rows: ours {ours:.1f}, theirs {theirs:.1f}",
                f"  ours by process: {_listed(of_processes, '.2f')}",
                f"  ours by stage, each alone: {_listed(of_stages, '.2f')}",
                f"  ours in MiB by process: {_listed(of_memory, '.0f')}",
            ]
        )

    def round_by_round(self) -> str:
        """Rows per CPU second of every round that counts."""
        return ", ".join(
            f"{side} " + " ".join(f"{self.rows / one.usage.all_cpu_seconds:.0f}" for one in rounds)
            for side, rounds in (("ours", self.ours), ("theirs", self.theirs))
        )


def _listed(figures: Mapping[str, float], form: str) -> str:
    """Largest first."""
    ordered = sorted(figures.items(), key=lambda item: -item[1])
    return ", ".join(f"{what} {figure:{form}}" for what, figure in ordered)


def compare(setting: Features, rows: int, rounds: int) -> Comparison:
    """Both sides in alternating rounds over the same day."""
    with tempfile.TemporaryDirectory() as place:
        experiment = prepare(Path(place), setting, rows)
        settings, target = experiment.model_dump_json(), str(Path(place) / "plain")
        with (
            closing(Side("das_plain.py", settings, target, kind_of=lambda _: "loop")) as plain,
            closing(Side("das_service.py", settings, kind_of=kind_of_ray_process)) as service,
        ):
            sides = (plain, service)
            pairs = [tuple(side.round() for side in sides) for _ in range(1 + rounds)][1:]
            difference = largest_difference(experiment, Path(target))
            stages, idle = service.ask("stages"), service.idle()
        theirs, ours = ([pair[side] for pair in pairs] for side in (0, 1))
        return Comparison(setting, rows, ours, theirs, difference, stages, idle)


def largest_difference(experiment: Experiment, plain: Path) -> float:
    """Between the probabilities of the two sides, which must be those of the same rows and differ between rows."""
    ours = next(read_rows(experiment.supervision(SUPERVISED_DAY), [EVENT_ID, "fm_click"], 2**31))
    theirs = pq.read_table(sorted(plain.glob("*.parquet")))
    assert ours[EVENT_ID].equals(theirs[EVENT_ID])
    mine, yours = ours["fm_click"].to_numpy(), theirs["fm_click"].to_numpy()
    assert np.std(mine) > 100 * PROBABILITY_TOLERANCE
    np.testing.assert_allclose(mine, yours, rtol=0, atol=PROBABILITY_TOLERANCE)
    return float(np.max(np.abs(mine - yours)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows and rounds, one setting")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    parser.add_argument("--rows", type=int, help=f"{FULL_ROWS} where it is left out, {QUICK_ROWS} with --quick")
    parser.add_argument("--rounds", type=int, help=f"that count: {FULL_ROUNDS}, or {QUICK_ROUNDS} with --quick")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, help="both where it is left out, seq with --quick")
    options = parser.parse_args(arguments)
    rows = options.rows or (QUICK_ROWS if options.quick else FULL_ROWS)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else FULL_ROUNDS)
    wanted = options.settings or (["seq"] if options.quick else SETTINGS)
    machine = describe_machine("numpy", "pyarrow", "ray", "torch")
    found = [row for setting in wanted for row in _measured(setting, rows, rounds)]
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")


def _measured(setting: Features, rows: int, rounds: int) -> list[dict[str, Any]]:
    load_before = os.getloadavg()[0]
    comparison = compare(setting, rows, rounds)
    load = f"load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after"
    difference = f"probabilities differ by at most {comparison.largest_difference:.1e}"
    print(f"{setting}: {rows} rows, {rounds} rounds; {load}; {difference}")
    found = comparison.json_rows()
    for row in found:
        print(f"  {row['what']}: ours {row['ours']}, theirs {row['theirs']} {row['unit']}, ratio {row['ratio']}")
    print(f"  rows per CPU second, round by round: {comparison.round_by_round()}")
    print(comparison.where_the_rest_goes(), flush=True)
    return found


if __name__ == "__main__":
    main()
