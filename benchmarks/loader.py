"""Batches from a day partition beside FuxiCTR's data loaders, in the TaobaoAd setting.

    python benchmarks/loader.py [--quick] [--json FILE] [--rows N] [--rounds N] [--settings …] [--loaders …]
        [--fuxictr PYTHON]

All sides give batches of 8,192 of the same rows, in order, and nothing is done with them. Sides live through the
session, show once that they read the same, and then take turns; figures are medians over the rounds. CPU seconds and
memory are those of all processes of a side. A side that cannot run is told and left out.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader_data import write_day, write_npz
from machine import describe_machine
from processes import AskedProcess, watching
from taobao_shape import Features

HERE = Path(__file__).parent
BATCH_ROWS = 8_192
ENCODINGS = ("identity", "hash", "counted")
LOADERS = {"npz": "one npz file", "npz_blocks": "npz blocks", "parquet": "Parquet by Ray Data"}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Round:
    """Once over the day."""

    rows_per_cpu_second: float
    peak_mebibytes: float


class Side:
    """A process that goes over the day when it is asked to."""

    def __init__(self, name: str, python: str, script: str, settings: dict[str, Any]) -> None:
        command = [python, "-W", "ignore", str(HERE / script), json.dumps(settings | {"batch_rows": BATCH_ROWS})]
        self.name = name
        self._asked = AskedProcess(command, {**os.environ, **ONE_THREAD})

    def check(self) -> int:
        """A number that only the same values in the same rows give."""
        return int(self._ask("check")["sum"])

    def round(self) -> Round:
        with watching(self._asked.process_id, lambda _: "all") as usage:
            rows = self._ask("round")["rows"]
        used = usage()
        return Round(rows / used.all_cpu_seconds, used.all_peak_bytes / 2**20)

    def close(self) -> None:
        self._asked.close()

    def _ask(self, what: str) -> dict[str, Any]:
        """Its answer; libraries print other lines."""
        line = self._asked.ask(what)
        while not line.startswith("{"):
            line = self._asked.read()
        answer: dict[str, Any] = json.loads(line)
        return answer


def measure(features: Features, rows: int, rounds: int, loaders: Sequence[str], fuxictr: str) -> list[dict[str, Any]]:
    """All sides of a setting in alternating rounds."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        root = Path(place)
        schema = write_day(root, features, rows)
        columns = write_npz(root, schema)
        settings: dict[str, Any] = {"place": str(root), "features": features, "columns": columns}
        sides = [Side(code, sys.executable, "loader_ours.py", settings | {"encoding": code}) for code in ENCODINGS]
        sides += [Side(kind, fuxictr, "loader_fuxictr.py", settings | {"loader": kind}) for kind in loaders]
        for side in sides:
            stack.enter_context(closing(side))
        able = _checked(sides)
        taken: dict[str, list[Round]] = {side.name: [] for side in able}
        for number in range(rounds):
            for side in able:
                taken[side.name].append(side.round())
                print(f"  {features}, round {number + 1}, {side.name}: {taken[side.name][-1]}", flush=True)
            print(f"  load average {os.getloadavg()[0]:.1f}", flush=True)
    return _rows(features, taken)


def _checked(sides: Sequence[Side]) -> list[Side]:
    """The sides that run.

    Raises:
        RuntimeError: ours does not, none of theirs does, or two do not read the same.
    """
    able, sums = [], {}
    for side in sides:
        # hashed and counted codes are rows of our own tables; what they are made from is the identity side's
        try:
            found = side.check()
        except RuntimeError as error:
            if side.name in ENCODINGS:
                raise
            print(f"  {LOADERS[side.name]} cannot run: {str(error).splitlines()[-1]}", flush=True)
            continue
        able.append(side)
        if side.name not in ("hash", "counted"):
            sums[side.name] = found
    if len(set(sums.values())) != 1 or len(sums) == 1:
        raise RuntimeError(f"the sides do not read the same: {sums}")
    return able


def _rows(features: Features, taken: dict[str, list[Round]]) -> list[dict[str, Any]]:
    def middle(name: str) -> float:
        return statistics.median(one.rows_per_cpu_second for one in taken[name])

    def peak(name: str) -> float:
        return max(one.peak_mebibytes for one in taken[name])

    theirs = [name for name in LOADERS if name in taken]
    fastest = max(theirs, key=middle)
    found = []
    for code in ENCODINGS:
        what = f"{features}, {code} codes, rows per CPU second beside {LOADERS[fastest]}"
        found.append(_row(what, middle(code), middle(fastest), "rows/s", middle(code) / middle(fastest)))
    for name in theirs:
        if name != fastest:
            what = f"{features}, identity codes, rows per CPU second beside {LOADERS[name]}"
            found.append(_row(what, middle("identity"), middle(name), "rows/s", middle("identity") / middle(name)))
    what = f"{features}, peak memory beside {LOADERS[fastest]}"
    return [*found, _row(what, peak("identity"), peak(fastest), "MiB", peak(fastest) / peak("identity"))]


def _row(what: str, ours: float, theirs: float, unit: str, ratio: float) -> dict[str, Any]:
    return {"what": what, "ours": round(ours, 1), "theirs": round(theirs, 1), "unit": unit, "ratio": round(ratio, 3)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows, two rounds")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    parser.add_argument("--rows", type=int, help="1,048,576 where it is left out, 131,072 with --quick")
    parser.add_argument("--rounds", type=int, help="5 where it is left out, 2 with --quick")
    parser.add_argument("--settings", nargs="+", choices=("seq", "cat20"), default=["seq", "cat20"])
    parser.add_argument("--loaders", nargs="+", choices=tuple(LOADERS), default=list(LOADERS))
    parser.add_argument("--fuxictr", default=sys.executable, metavar="PYTHON", help="interpreter that has fuxictr")
    options = parser.parse_args(arguments)
    rows, rounds = (131_072, 2) if options.quick else (1_048_576, 5)
    machine = describe_machine("numpy", "pyarrow", "torch", "ray")
    found = [
        row
        for features in options.settings
        for row in measure(features, options.rows or rows, options.rounds or rounds, options.loaders, options.fuxictr)
    ]
    for row in found:
        print(f"{row['what']}: ours {row['ours']}, theirs {row['theirs']} {row['unit']}, ratio {row['ratio']}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
