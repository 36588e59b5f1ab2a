"""How far training and predicting can get ahead of FuxiCTR on this machine, and what bounds them.

    python benchmarks/limits.py [--quick] [--json FILE] [--rounds N] [--models …] [--fuxictr PYTHON]

Of each model one step is watched for its matrix products; then each of their shapes is multiplied by itself, by the
library that ours takes and by MKL, which FuxiCTR takes. With the moves of a batch's vectors, which cannot be left out
either, that is the floor of a step: no work between the products, no reading, no optimizer of dense parameters.
FuxiCTR's step divided by it is the highest ratio that the floor allows. Rows are those of `seq` of benchmarks/train.py.
"""

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from limits_costs import (
    Moves,
    Shape,
    by_bfloat16,
    by_mkl,
    by_onednn,
    by_ours,
    copy_rate,
    cpu_seconds,
    moves_of,
    products_of,
    times_of,
)
from machine import describe_machine
from train import ENVIRONMENT, Bench, Sizes
from train import parser as train_parser
from train_data import WARM_DAY
from train_ours import OursSettings, Trainer
from train_settings import DMIN
from train_sides import Comparison, compare
from train_table import print_rows, print_stages

from exfm_ray.computing import begin_computing
from exfm_ray.data.batches import Batch, day_batches
from exfm_ray.distill.losses import student_loss

MODELS = ("DeepFaM", "DCN", "DCNv2", DMIN)
PREDICTING = ("DCNv2",)
SETTING = {DMIN: "seq99"}
"""`seq` of all others"""
LARGEST = 2**26
"""multiply-adds of the smallest product whose rate is told by itself"""


class Limits:
    """One session.

    Args:
        bench: of benchmarks/train.py, which starts the sides.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def training(self, model: str) -> list[dict[str, Any]]:
        """The rows of the JSON of a model's step."""
        setting = SETTING.get(model, "seq")
        trainer, batch = self._watched(setting, model)
        shapes = _products_of_step(trainer, batch)
        comparison = self._compare(setting, model, "round")
        print_stages(f"{model} {setting}", comparison)
        moves = self._moves(trainer, batch)
        what = f"{model} {setting}, {len(batch):,} rows"
        return self._floor(what, comparison, shapes, moves.of_training, len(batch))

    def predicting(self, model: str) -> list[dict[str, Any]]:
        """The same of answering for as many rows, without gradients."""
        trainer, batch = self._watched("seq", model)
        with products_of() as shapes, torch.no_grad():
            trainer.student.model.eval()(batch.inputs)
        comparison = self._compare("seq", model, "predict")
        moves = self._moves(trainer, batch)
        what = f"{model} seq predicting, {len(batch):,} rows"
        return self._floor(what, comparison, shapes, moves.of_predicting, len(batch))

    def rates(self, model: str) -> list[dict[str, Any]]:
        """GFLOP/s of each large product of a step."""
        shapes = _products_of_step(*self._watched("seq", model))
        large = Counter({shape: count for shape, count in shapes.items() if shape.operations >= 2 * LARGEST})
        ours, mkl, onednn = (times_of(large, multiply) for multiply in (by_ours, by_mkl, by_onednn))
        rows = []
        for shape in sorted(large):
            name = str(shape)
            speeds = [shape.operations / taken[shape] / 1e9 for taken in (ours, mkl, onednn)]
            rows.append(_row(f"rate, {name}", speeds[0], speeds[1], "GFLOP/s", speeds[0] / speeds[1]))
            told = f"{name}: ours {speeds[0]:.0f} GFLOP/s, MKL {speeds[1]:.0f}, oneDNN {speeds[2]:.0f}"
            if torch.ops.mkldnn._is_mkldnn_bf16_supported():
                left, right = (factor.bfloat16() for factor in shape.factors())
                reduced = shape.operations / cpu_seconds(lambda: by_bfloat16(left, right)) / 1e9  # noqa: B023
                told += f", bfloat16 {reduced:.0f}"
            print(told, flush=True)
        return rows

    def _watched(self, setting: str, model: str) -> tuple[Trainer, Batch]:
        """Our side in this process, and a batch."""
        trainer = Trainer(OursSettings.model_validate_json(self.bench.ours(setting, model).settings))
        trainer.train(WARM_DAY)
        trainer.student.train()
        return trainer, next(iter(day_batches(trainer.traffic, WARM_DAY, trainer.batch_rows)))

    def _compare(self, setting: str, model: str, task: str) -> Comparison:
        ours = self.bench.ours(setting, model, task=task)
        theirs = self.bench.theirs("train_fuxictr.py", self.bench.options.fuxictr, setting, model, task)
        return compare(ours, theirs, self.bench.sizes.rounds, stages=task == "round")

    def _moves(self, trainer: Trainer, batch: Batch) -> Moves:
        embedding = trainer.student.model.embedding
        return moves_of(batch.inputs, embedding.layout, embedding.table.detach())

    def _floor(
        self, what: str, comparison: Comparison, shapes: Counter[Shape], moves: float, rows: int
    ) -> list[dict[str, Any]]:
        """What both sides take, their products and the floor, and what the floor allows."""
        mine, yours = (
            min(one.cpu_seconds / one.rows for one in side) * rows * 1e3
            for side in (comparison.ours, comparison.theirs)
        )
        of_ours, of_mkl = (
            sum(count * taken[shape] for shape, count in shapes.items()) * 1e3
            for taken in (times_of(shapes, by_ours), times_of(shapes, by_mkl))
        )
        floor = of_ours + moves * 1e3
        operations = sum(count * shape.operations for shape, count in shapes.items()) / 1e9
        print(
            f"{what}: ours {mine:.0f} ms of CPU, FuxiCTR {yours:.0f}, ratio {yours / mine:.2f}; {operations:.0f} GFLOP "
            f"of products, ours {of_ours:.0f} ms, by MKL {of_mkl:.0f}; moves of vectors {moves * 1e3:.0f} ms; floor "
            f"{floor:.0f} ms, which allows {yours / floor:.2f}; products are {of_ours / floor:.0%} of the floor; "
            f"load average {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        return [
            _row(f"CPU ms, {what}", mine, yours, "ms", yours / mine),
            _row(f"products, {what}", of_ours, of_mkl, "ms", of_mkl / of_ours),
            _row(f"the floor and FuxiCTR, {what}", floor, yours, "ms", yours / floor),
        ]


def _products_of_step(trainer: Trainer, batch: Batch) -> Counter[Shape]:
    """Of a forward and a backward pass."""
    with products_of() as shapes:
        student_loss(trainer.student, batch.inputs, batch.labels[:, 0], None).backward()  # type: ignore[no-untyped-call]
    return shapes


def _row(what: str, ours: float, theirs: float, unit: str, ratio: float) -> dict[str, Any]:
    return {"what": what, "ours": round(ours, 1), "theirs": round(theirs, 1), "unit": unit, "ratio": round(ratio, 3)}


def run(options: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, str]]:
    begin_computing()
    sizes = Sizes(steps=1, dmin_steps=1, dmin_batch_rows=2_048, rounds=options.rounds or (2 if options.quick else 5))
    print(f"a core copies {copy_rate() / 1e9:.1f} GB/s, read and written", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        sides = train_parser().parse_args(["--fuxictr", str(options.fuxictr)])
        limits = Limits(Bench(sides, sizes, Path(place)))
        for model in options.models:
            rows += limits.training(model)
        for model in PREDICTING:
            if model in options.models:
                rows += limits.predicting(model)
                rows += limits.rates(model)
    return rows, limits.bench.versions


def main(arguments: Sequence[str] | None = None) -> None:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--quick", action="store_true", help="two rounds, and not DMIN")
    found.add_argument("--json", type=Path, help="file that the figures are written to")
    found.add_argument("--rounds", type=int, help="that count: 5, or 2 with --quick")
    found.add_argument("--models", nargs="+", choices=MODELS, help="all, or all but DMIN with --quick")
    found.add_argument("--fuxictr", type=Path, default=ENVIRONMENT, metavar="PYTHON", help="interpreter with it")
    options = found.parse_args(arguments)
    options.models = options.models or [model for model in MODELS if model != DMIN or not options.quick]
    if not options.fuxictr.exists():
        raise SystemExit(f"{options.fuxictr} is not there: run `make bench-env`, or name an interpreter with FuxiCTR")
    machine = describe_machine("numpy", "pyarrow", "torch")
    rows, libraries = run(options)
    machine["versions"] |= libraries
    print_rows(rows)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
