"""Training throughput of exfm_ray beside FuxiCTR, deepctr-torch and torch-rechub, in the TaobaoAd setting.

    python benchmarks/train.py [--quick] [--json FILE] [--figure FILE] [--settings …] [--models …] [--parts …]

`make bench-env` installs the libraries in an environment of their own. Both sides of a comparison read the same rows,
train models of equally many parameters in one thread, and take turns; figures are medians over the rounds, ratios
medians of the rounds' ratios. CPU seconds are those of a side's one process, reading included.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from machine import describe_machine
from taobao_shape import HISTORY_LENGTH
from train_data import LABEL, write_days, write_npz
from train_figure import write_figure
from train_settings import DMIN, MODELS, PARAMETERS, REGULARIZER, SETTINGS
from train_sides import Comparison, Side, compare
from train_table import print_rows, print_stages

from exfm_ray.config import OptimizerConfig
from exfm_ray.schema import Method, Schema

ENVIRONMENT = Path(__file__).parents[1] / ".bench" / "bin" / "python"
PARTS = ("fuxictr", "libraries", "vocabulary", "methods", "inference")
LIBRARIES = {
    "deepctr-torch": ("train_deepctr.py", ("DeepFaM", "DCN", "DCNv2")),
    "torch-rechub": ("train_rechub.py", ("DeepFaM", "DCN", "DCNv2")),
}
"""The script of each, and the models that it has."""
LARGER = 10
"""times the published vocabularies, of the part `vocabulary`"""
VOCABULARY_MODELS = ("FaM", "DCNv2")
"""of the part `vocabulary`: one that is nearly all tables, and one that is nearly all matrix products"""
FM_MODELS = ("DCNv2",)
"""of the part `inference`"""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    steps: int
    """of a round; a batch more warms up"""
    dmin_steps: int
    dmin_batch_rows: int
    rounds: int
    batch_rows: int = 8_192

    def rows(self, model: str) -> tuple[int, int]:
        """Rows of the day that warms up and of the one that is measured."""
        batch_rows = self.batch_of(model)
        return batch_rows, batch_rows * (self.dmin_steps if model == DMIN else self.steps)

    def batch_of(self, model: str) -> int:
        return self.dmin_batch_rows if model == DMIN else self.batch_rows


FULL = Sizes(steps=16, dmin_steps=2, dmin_batch_rows=8_192, rounds=5)
QUICK = Sizes(steps=2, dmin_steps=1, dmin_batch_rows=2_048, rounds=2)


class Bench:
    """One session: its files, and what the command says."""

    def __init__(self, options: argparse.Namespace, sizes: Sizes, root: Path) -> None:
        self.options, self.sizes, self.root = options, sizes, root
        self.versions: dict[str, str] = {}
        """of the libraries that were compared with"""
        self.written: dict[tuple[str, tuple[int, int], tuple[int, int]], tuple[Path, Schema]] = {}

    def data(self, setting: str, model: str, times: tuple[int, int] = (1, 1)) -> tuple[Path, Schema]:
        """Where the days of a setting lie, written when they are first asked for."""
        rows = self.sizes.rows(model)
        key = (setting, rows, times)
        if key not in self.written:
            place = self.root / str(len(self.written))
            place.mkdir()
            self.written[key] = place, write_days(place, SETTINGS[setting], rows, *times)
        return self.written[key]

    def ours(
        self,
        setting: str,
        model: str,
        method: Method = "none",
        times: tuple[int, int] = (1, 1),
        task: str = "round",
    ) -> Side:
        optimizer = OptimizerConfig(
            learning_rate=1e-3,
            embedding=self.options.embedding,
            batch_size=self.sizes.batch_of(model),
            precision=self.options.precision,
            compile=self.options.compile,
        )
        place, _ = self.data(setting, model, times)
        settings = {
            "place": str(place),
            "model": MODELS[model].model_dump(),
            "optimizer": optimizer.model_dump(),
            "method": method,
        }
        return Side("train_ours.py", json.dumps(settings), task=task)

    def theirs(self, script: str, python: Path, setting: str, model: str, task: str = "round") -> Side:
        place, schema = self.data(setting, model)
        write_npz(place, schema)
        settings = {
            "place": str(place),
            "features": [feature.model_dump() for feature in schema.features],
            "label": LABEL,
            "history_length": HISTORY_LENGTH,
            "model": MODELS[model].model_dump(),
            "batch_rows": self.sizes.batch_of(model),
            "regularizer": REGULARIZER[model] if self.options.regularize else None,
        }
        return Side(script, json.dumps(settings), str(python), task)

    def fuxictr(self) -> Iterator[dict[str, Any]]:
        """Training, our models beside theirs of the same sizes."""
        for setting, model in self._chosen(MODELS):
            ours = self.ours(setting, model)
            theirs = self.theirs("train_fuxictr.py", self.options.fuxictr, setting, model)
            comparison = self._compare(ours, theirs, stages=True)
            mine, yours = comparison.parameters
            if mine != yours or mine != PARAMETERS.get((SETTINGS[setting].features, model), mine):
                raise RuntimeError(f"{model} has {mine} parameters but FuxiCTR's {yours}")
            print_stages(f"{model} {setting}, {mine:,} parameters on both sides", comparison)
            yield from self._training(comparison, f"{model} {setting}, FuxiCTR")

    def libraries(self) -> Iterator[dict[str, Any]]:
        """Training beside the other libraries, where they have the model."""
        for library, (script, models) in LIBRARIES.items():
            for setting, model in self._chosen(models):
                theirs = self.theirs(script, self.options.libraries, setting, model)
                comparison = self._compare(self.ours(setting, model), theirs)
                mine, yours = comparison.parameters
                print(f"{model} {setting}: {mine:,} parameters, {library} {yours:,}", flush=True)
                yield from self._training(comparison, f"{model} {setting}, {library}")

    def vocabulary(self) -> Iterator[dict[str, Any]]:
        """A step with vocabularies of ten times the size, beside one with the published ones."""
        for setting, model in self._chosen(VOCABULARY_MODELS):
            for ids, times in (("the same ids", (LARGER, 1)), ("ids of all its rows", (LARGER, LARGER))):
                comparison = self._compare(self.ours(setting, model, times=times), self.ours(setting, model))
                mine, yours = comparison.parameters
                parameters = f"{mine / 1e6:.0f} M parameters and {ids} beside {yours / 1e6:.0f} M"
                yield self._step(comparison, f"{model} {setting}, {parameters}")

    def methods(self) -> Iterator[dict[str, Any]]:
        """A step of ah_sa, which trains two more heads and the adapter, beside one of none."""
        for setting, model in self._chosen(MODELS):
            both = self.ours(setting, model, "ah_sa"), self.ours(setting, model)
            yield self._step(self._compare(*both), f"{model} {setting}, ah_sa beside none")

    def inference(self) -> Iterator[dict[str, Any]]:
        """The FM supervises a day, beside `predict` of FuxiCTR."""
        for setting, model in self._chosen(FM_MODELS):
            ours = self.ours(setting, model, task="predict")
            theirs = self.theirs("train_fuxictr.py", self.options.fuxictr, setting, model, "predict")
            comparison = self._compare(ours, theirs)
            what = f"predicted rows per CPU second, {model} {setting}, FuxiCTR"
            yield comparison.row(what, "rows/s", lambda one: one.rows_per_cpu_second)

    def _compare(self, ours: Side, theirs: Side, *, stages: bool = False) -> Comparison:
        comparison = compare(ours, theirs, self.sizes.rounds, stages=stages)
        self.versions |= comparison.versions
        return comparison

    def _training(self, comparison: Comparison, what: str) -> Iterator[dict[str, Any]]:
        yield comparison.row(f"samples per CPU second, {what}", "rows/s", lambda one: one.rows_per_cpu_second)
        yield comparison.row(f"samples per second on the clock, {what}", "rows/s", lambda one: one.rows_per_second)
        yield comparison.row(f"peak memory, {what}", "MiB", lambda one: one.peak_mebibytes, less_is_better=True)

    def _step(self, comparison: Comparison, what: str) -> dict[str, Any]:
        return comparison.row(
            f"CPU ms per {self.sizes.batch_rows:,} samples, {what}",
            "ms",
            lambda one: one.cpu_seconds / one.rows * self.sizes.batch_rows * 1e3,
            less_is_better=True,
        )

    def _chosen(self, models: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Each setting with each of the models that the command names and the setting has."""
        for setting in (name for name in SETTINGS if name in self.options.settings):
            for model in models:
                if model in self.options.models and SETTINGS[setting].has(model):
                    yield setting, model


def run(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All parts that the command names, each told as soon as it is measured, and the versions of the libraries."""
    sizes = QUICK if options.quick else FULL
    if options.rounds:
        sizes = Sizes(sizes.steps, sizes.dmin_steps, sizes.dmin_batch_rows, options.rounds)
    found = []
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(options, sizes, Path(place))
        parts: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {part: getattr(bench, part) for part in PARTS}
        for part in options.parts:
            for row in parts[part]():
                found.append(row)
                load = f"load average {os.getloadavg()[0]:.1f}"
                print(f"  {row['what']}: {row['ours']} beside {row['theirs']} {row['unit']}, {row['ratio']}; {load}")
                sys.stdout.flush()
    return found, bench.versions


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--quick", action="store_true", help="few steps and rounds, FuxiCTR alone, one setting")
    found.add_argument("--json", type=Path, help="file that the figures are written to")
    found.add_argument("--figure", type=Path, help="HTML file that the ratios are drawn in")
    found.add_argument("--settings", nargs="+", choices=SETTINGS, help="all, or seq with --quick")
    found.add_argument("--models", nargs="+", choices=MODELS, default=tuple(MODELS), help="all where it is left out")
    found.add_argument("--parts", nargs="+", choices=PARTS, help="all, or fuxictr with --quick")
    found.add_argument("--rounds", type=int, help=f"that count: {FULL.rounds}, or {QUICK.rounds} with --quick")
    found.add_argument(
        "--embedding",
        choices=get_args(OptimizerConfig.model_fields["embedding"].annotation),
        default=OptimizerConfig().embedding,
        help=f"our optimizer of the tables, {OptimizerConfig().embedding} where it is left out; theirs is Adam",
    )
    found.add_argument(
        "--precision",
        choices=get_args(OptimizerConfig.model_fields["precision"].annotation),
        default=OptimizerConfig().precision,
        help="of our training steps; theirs is float32",
    )
    found.add_argument("--compile", action="store_true", help="our MLPs by torch.compile")
    found.add_argument("--regularize", action="store_true", help="theirs with the published L2, which ours lacks")
    for name in ("fuxictr", "libraries"):
        found.add_argument(f"--{name}", type=Path, default=ENVIRONMENT, metavar="PYTHON", help="interpreter with it")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    options.settings = options.settings or (["seq"] if options.quick else list(SETTINGS))
    options.parts = options.parts or (["fuxictr"] if options.quick else list(PARTS))
    needed = {"fuxictr": options.fuxictr, "inference": options.fuxictr, "libraries": options.libraries}
    for part, python in needed.items():
        if part in options.parts and not python.exists():
            raise SystemExit(f"{python} is not there: run `make bench-env`, or name interpreters with the libraries")
    machine = describe_machine("numpy", "pyarrow", "torch")
    found, libraries = run(options)
    machine["versions"] |= libraries
    print_rows(found)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")
    if options.figure:
        write_figure(options.figure, found, machine)


if __name__ == "__main__":
    main()
