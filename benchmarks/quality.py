"""Quality of what makes training fast: tables updated where a batch touches them, beside dense Adam over all rows.

    python benchmarks/quality.py [--quick] [--json FILE] [--data stream kuairand] [--kuairand DIRECTORY] [--model DCNv2]

One model, one order of rows, one pass; dense Adam in float32, ours also in bfloat16, predictions too. Learning
rates are chosen for each side by the mean next-day LogLoss of the earlier days; the later days report. A day is
predicted before it is trained on.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from rich.console import Console
from rich.table import Table
from torch.nn import functional
from torch.optim import Optimizer

from exfm_ray.config import DcnV2Model, DeepFamModel, DriftData, KuaiRandData, ModelConfig, OptimizerConfig, Precision
from exfm_ray.data.batches import Batch, day_batches
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.location import Location
from exfm_ray.data.prepare import prepare
from exfm_ray.data.traffic import Traffic
from exfm_ray.metrics import auc, log_loss
from exfm_ray.models.answering import answers
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.model import Model
from exfm_ray.models.precision import computed_in
from exfm_ray.train.optimizers import build_optimizers

MODELS: dict[str, ModelConfig] = {
    "DeepFaM": DeepFamModel(embedding_dim=16, hidden=(64, 32)),
    "DCNv2": DcnV2Model(embedding_dim=16, cross_layers=3, hidden=(64, 32)),
}
CPU = torch.device("cpu")
BATCH = 256
SEEDS, QUICK_SEEDS = (0, 1, 2, 3, 4), (0,)
DENSE_RATES = (5e-4, 1e-3, 2e-3, 4e-3)
TABLE_RATES = {"rowwise_adagrad": (0.01, 0.02, 0.05, 0.1), "lazy_adam": (5e-4, 1e-3, 2e-3, 4e-3)}
ALLOWED_LOSS_OF_AUC = 0.001


@dataclass(frozen=True)
class Setting:
    """Days of batches in memory; the first `chosen` evaluated days choose, the others report."""

    name: str
    model: ModelConfig
    traffic: Traffic
    days: tuple[tuple[Batch, ...], ...]
    chosen: int


@dataclass(frozen=True)
class Side:
    """How a model is trained."""

    name: str
    rates: tuple[tuple[float, ...], ...]
    optimizers: Callable[[Model, tuple[float, ...]], list[Optimizer]]
    dense: bool
    precision: Precision = "float32"


@dataclass(frozen=True)
class Quality:
    """Of one pass: per evaluated day."""

    log_loss: tuple[float, ...]
    auc: tuple[float, ...]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    seeds = QUICK_SEEDS if arguments.quick else SEEDS
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for name in arguments.data:
            setting = _setting(name, arguments, Location.of(place) / name)
            rows += compare(setting, seeds, quick=arguments.quick)
    Console().print(_table(rows))
    if arguments.json:
        machine = describe_machine("torch", "numpy")
        arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))


def compare(setting: Setting, seeds: Sequence[int], *, quick: bool) -> list[dict[str, Any]]:
    """For each of our optimizers AUC and LogLoss of the reporting days, means over days and seeds."""
    sides = _sides(quick)
    found = {side.name: _reported(side, setting, seeds) for side in sides}
    rates, theirs = found.pop("dense Adam")
    print(f"{setting.name}, dense Adam: rates {rates}", flush=True)
    rows = []
    for name, (own_rates, ours) in found.items():
        print(f"{setting.name}, {name}: rates {own_rates}", flush=True)
        for metric, better_when_larger in (("auc", True), ("log_loss", False)):
            mine, other = (np.array([getattr(run, metric) for run in side]) for side in (ours, theirs))
            paired = (mine - other).mean(axis=1)  # one per seed
            ratio = mine.mean() / other.mean() if better_when_larger else other.mean() / mine.mean()
            rows.append(
                {
                    "what": f"{setting.name}: {metric} with {name}",
                    "ours": float(mine.mean()),
                    "theirs": float(other.mean()),
                    "unit": metric,
                    "ratio": float(ratio),
                    "difference": float(paired.mean()),
                    "standard_error": float(paired.std(ddof=1) / len(paired) ** 0.5) if len(paired) > 1 else None,
                    "rates": {"ours": own_rates, "theirs": rates},
                }
            )
    return rows


def _reported(side: Side, setting: Setting, seeds: Sequence[int]) -> tuple[tuple[float, ...], list[Quality]]:
    """The rates that the earlier days choose with a seed that does not report, and the later days of each seed."""
    trials = {rates: one_pass(side, rates, setting, seed=100) for rates in side.rates}
    best = min(trials, key=lambda rates: np.mean(trials[rates].log_loss[: setting.chosen]))
    runs = [one_pass(side, best, setting, seed) for seed in seeds]
    return best, [Quality(run.log_loss[setting.chosen :], run.auc[setting.chosen :]) for run in runs]


def one_pass(side: Side, rates: tuple[float, ...], setting: Setting, seed: int) -> Quality:
    """Predict each day but the first, then train on it."""
    model = seeded(lambda: build_model(setting.model, setting.traffic.schema, 1), seed, "model")
    optimizers = side.optimizers(model, rates)
    losses, areas = [], []
    for day, batches in enumerate(setting.days):
        if day:
            labels = np.concatenate([batch.labels[:, 0].numpy() for batch in batches])
            predicted = np.concatenate(list(_predicted(model, batches, side.precision)))
            area = auc(predicted, labels)
            assert area is not None
            losses.append(log_loss(predicted, labels))
            areas.append(area)
        for batch in batches:
            _step(model, batch, optimizers, side)
    return Quality(tuple(losses), tuple(areas))


def _step(model: Model, batch: Batch, optimizers: Sequence[Optimizer], side: Side) -> None:
    model.train()
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    with computed_in(side.precision, CPU):
        loss = functional.binary_cross_entropy_with_logits(model(batch.inputs), batch.labels)
    loss.backward()
    for table in model.table_parameters() if side.dense else ():
        assert table.grad is not None
        table.grad = table.grad.to_dense()
    for optimizer in optimizers:
        optimizer.step()


def _predicted(model: Model, batches: Sequence[Batch], precision: Precision) -> Iterator[np.ndarray]:
    model.eval()
    for batch in batches:
        yield answers(model, batch.inputs, CPU, precision)[:, 0].numpy()


def _sides(quick: bool) -> list[Side]:
    def dense_adam(model: Model, rates: tuple[float, ...]) -> list[Optimizer]:
        return [torch.optim.Adam(model.parameters(), lr=rates[0], fused=True)]

    def ours(kind: Any) -> Callable[[Model, tuple[float, ...]], list[Optimizer]]:
        def build(model: Model, rates: tuple[float, ...]) -> list[Optimizer]:
            config = OptimizerConfig(embedding=kind, learning_rate=rates[0], embedding_learning_rate=rates[1])
            return list(build_optimizers(config, model.dense_parameters(), model.table_parameters()).values())

        return build

    dense = DENSE_RATES[1:3] if quick else DENSE_RATES
    sides = [Side("dense Adam", tuple((rate,) for rate in dense), dense_adam, dense=True)]
    for kind, rates in TABLE_RATES.items():
        chosen = tuple(product(dense, rates[1:3] if quick else rates))
        sides.append(Side(kind, chosen, ours(kind), dense=False))
        sides.append(Side(f"{kind}, bf16", chosen, ours(kind), dense=False, precision="bf16"))
    return sides


def _setting(name: str, arguments: argparse.Namespace, place: Location) -> Setting:
    days = 6 if arguments.quick else 8
    config: DriftData | KuaiRandData = DriftData(days=days, events_per_day=20_000 if arguments.quick else 60_000)
    if name == "kuairand":
        config = KuaiRandData(path=str(arguments.kuairand), tasks=("click",))
    data = open_dataset(config)
    assert data.source is not None
    prepare(data.source, place)
    schema = data.schema.for_vm()
    traffic = Traffic(place, schema, ("click",))
    batches = tuple(tuple(day_batches(traffic, day, BATCH)) for day in range(1, data.days + 1))
    label = f"{name}, {arguments.model}"
    return Setting(label, MODELS[arguments.model], traffic, batches, chosen=(data.days - 1) // 2)


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table("what", "ours", "dense Adam", "difference", "standard error over seeds")
    for row in rows:
        error = "" if row["standard_error"] is None else f"{row['standard_error']:.5f}"
        table.add_row(row["what"], f"{row['ours']:.5f}", f"{row['theirs']:.5f}", f"{row['difference']:+.5f}", error)
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows, rates and seeds")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--data", nargs="+", choices=("stream", "kuairand"), default=["stream"])
    parser.add_argument("--model", choices=MODELS, default="DeepFaM")
    parser.add_argument("--kuairand", type=Path, help="directory of KuaiRand-Pure's log")
    return parser.parse_args()


if __name__ == "__main__":
    main()
