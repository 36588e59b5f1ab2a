"""What training costs when there is more of it: more rows, larger vocabularies, more VMs on the same rows.

    python benchmarks/scale.py [--quick] [--json FILE] [--figure FILE] [--axes rows vocabulary vms] [--model NAME]

Each point is a process of its own with one thread, in the TaobaoAd setting; the points of an axis take turns, and
figures are medians over the rounds. "theirs" is the first point of the axis, so a ratio of 1 says that the cost of one
more is what the first costs, and above 1 that it is less.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from machine import describe_machine
from train_data import write_days
from train_settings import MODELS, SETTINGS
from train_sides import Round, Side, asked_round, told
from train_table import print_rows

from exfm_ray.config import OptimizerConfig

BATCH_ROWS = 8_192
STEPS, QUICK_STEPS = 8, 2
ROUNDS, QUICK_ROUNDS = 3, 1
POINTS: Mapping[str, Sequence[int]] = {"rows": (1, 2, 4), "vocabulary": (1, 2, 5, 10), "vms": (1, 2, 4, 8)}
"""Times the rows of a day, times the published vocabularies, and variants of one VM that share a pass."""


class Scale:
    """One session."""

    def __init__(self, root: Path, model: str, steps: int, rounds: int) -> None:
        self.root, self.model, self.steps, self.rounds = root, model, steps, rounds

    def axis(self, name: str) -> list[dict[str, Any]]:
        """One row per point."""
        with ExitStack() as stack:
            processes = []
            for times in POINTS[name]:
                process = stack.enter_context(closing(self._side(name, times).start()))
                told(process, process.read())
                told(process, process.ask("warm"))
                processes.append(process)
            rounds = [[asked_round(process, "round") for process in processes] for _ in range(self.rounds)]
        return self._rows(name, rounds)

    def _rows(self, name: str, rounds: Sequence[Sequence[Round]]) -> list[dict[str, Any]]:
        def cost(times: int) -> Callable[[Round], float]:
            shared = times if name == "vms" else 1
            return lambda one: one.cpu_seconds / one.rows * BATCH_ROWS * 1e3 / shared

        found, points = [], POINTS[name]
        for index, times in enumerate(points):
            pairs = [(cost(times)(points_of[index]), cost(points[0])(points_of[0])) for points_of in rounds]
            ours, first = (statistics.median(side) for side in zip(*pairs, strict=True))
            found.append(
                {
                    "what": f"CPU ms per {BATCH_ROWS} samples{' and VM' if name == 'vms' else ''}, {name} × {times}",
                    "ours": round(ours, 1),
                    "theirs": round(first, 1),
                    "unit": "ms",
                    "ratio": round(statistics.median(base / mine for mine, base in pairs), 3),
                    "axis": name,
                    "times": times,
                    "peak_mebibytes": round(max(points_of[index].peak_mebibytes for points_of in rounds)),
                }
            )
        return found

    def _side(self, name: str, times: int) -> Side:
        place = self.root / f"{name}-{times}"
        place.mkdir()
        rows = BATCH_ROWS * self.steps * (times if name == "rows" else 1)
        write_days(place, SETTINGS["seq"], (BATCH_ROWS, rows), times if name == "vocabulary" else 1)
        settings = {
            "place": str(place),
            "model": MODELS[self.model].model_dump(),
            "optimizer": OptimizerConfig(batch_size=BATCH_ROWS).model_dump(),
            "variants": times if name == "vms" else 1,
        }
        return Side("train_ours.py", json.dumps(settings))


def write_figure(place: Path, rows: Sequence[Mapping[str, Any]], model: str) -> None:
    """One HTML file that needs nothing else: what a step costs against each axis."""
    figure = go.Figure()
    for axis in dict.fromkeys(row["axis"] for row in rows):
        chosen = [row for row in rows if row["axis"] == axis]
        figure.add_scatter(
            name=axis,
            mode="lines+markers",
            x=[row["times"] for row in chosen],
            y=[1 / row["ratio"] for row in chosen],
            customdata=[(row["ours"], row["peak_mebibytes"]) for row in chosen],
            hovertemplate="%{customdata[0]:,} ms, %{customdata[1]:,} MiB<extra>× %{x}</extra>",
        )
    figure.add_hline(y=1, line_dash="dot")
    figure.update_layout(
        title=f"What a step of {model} costs when there is more of it",
        xaxis={"title": "times the first point", "type": "log"},
        yaxis={"title": "cost ÷ that of the first point (per row, and per VM)", "rangemode": "tozero"},
    )
    figure.write_html(place, include_plotlyjs=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few steps, one round")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    parser.add_argument("--figure", type=Path, help="HTML file that the costs are drawn in")
    parser.add_argument("--axes", nargs="+", choices=POINTS, default=list(POINTS))
    parser.add_argument("--model", choices=MODELS, default="DeepFaM")
    options = parser.parse_args(arguments)
    steps, rounds = (QUICK_STEPS, QUICK_ROUNDS) if options.quick else (STEPS, ROUNDS)
    machine = describe_machine("numpy", "pyarrow", "torch")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for axis in options.axes:
            rows += Scale(Path(place), options.model, steps, rounds).axis(axis)
    print_rows(rows)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    if options.figure:
        write_figure(options.figure, rows, options.model)


if __name__ == "__main__":
    main()
