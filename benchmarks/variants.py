"""Sixteen variants of a VM: one pass of the fleet for all, beside a Ray Train run for each, a core each.

    python benchmarks/variants.py [--quick] [--json FILE] [--rows N] [--days N] [--rounds N] [--batch N] [--variants N]
    python benchmarks/variants.py --stack cuda [--quick] …

Variants differ in label scale, gradient scale, loss weight, learning rate and seed. Both sides find Ray started and the
days supervised, train by the same code, and must leave the same checkpoints and results, bit for bit. Sides take turns;
figures are medians over the rounds. Another comparison, in one process without Ray, says what sharing the rows gives.
With --stack it is another one alone: variants stacked into a wider model beside one after the other, both in one pass
on that device, where the results may differ by rounding.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from processes import watching

from exfm_ray.cluster import ray_cluster
from exfm_ray.computing import begin_computing
from exfm_ray.config import DeepFamModel, DistillConfig, OptimizerConfig, Recipe, VariantConfig, VerticalModelConfig
from exfm_ray.data.commit import require
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import Outcome, RunDirectory, variant_name
from exfm_ray.run_start import claim_run
from exfm_ray.simulation import produce
from exfm_ray.train.launch import train_vertical_models
from exfm_ray.train.variants import train_variants

DOMAINS = 3
CORES = os.cpu_count() or 1
LARGEST_DIFFERENCE = 1e-3
"""of NE, between variants that are stacked and those that are not: some thousand steps of rounding in float32"""


@dataclass(frozen=True)
class Sizes:
    rows: int
    """of each day that the VM sees; a day has those of all domains"""
    days: int
    """the first trains the FM alone, the last evaluates alone"""
    batch: int
    rounds: int
    variants: int


SIZES = ("rows", "days", "batch", "rounds", "variants")
FULL, QUICK = Sizes(65_536, 8, 512, 3, 16), Sizes(8_192, 3, 512, 1, 16)


@dataclass(frozen=True)
class Round:
    seconds: float
    cpu_seconds: float


def variants_of(batch: int, *, stack: bool = False) -> list[VariantConfig]:
    """Sixteen: every choice of four settings, each from a seed of its own."""
    choices = product((1.0, 2.0), (1.0, 5.0), (0.5, 2.0), (0.001, 0.004))
    found = []
    for index, (label_scale, grad_scale, loss_weight, rate) in enumerate(choices):
        vm = VerticalModelConfig(
            name=f"trial{index:02d}",
            model=DeepFamModel(embedding_dim=16, hidden=(64, 32)),
            optimizer=OptimizerConfig(learning_rate=rate, batch_size=batch, stack=stack),
            distill=DistillConfig(label_scale=label_scale, grad_scale=grad_scale, loss_weight=loss_weight),
        )
        found.append(VariantConfig(vm=vm, method="ah", seed=index))
    return found


def supervised_days(place: Path, sizes: Sizes) -> Experiment:
    """Days of the drifting stream and an FM's supervision of them, made by the project's own code in this process."""
    recipe = Recipe.model_validate(
        {
            "name": "benchmark",
            "data": {
                "type": "drift",
                "days": sizes.days,
                "events_per_day": sizes.rows * DOMAINS,
                "domains": DOMAINS,
                "stages": ["later"],
            },
            "fm": {"model": {"type": "dcnv2", "embedding_dim": 16, "cross_layers": 1, "hidden": [64]}},
            "vms": [{"name": "vm", "model": {"type": "fam"}, "optimizer": {"batch_size": sizes.batch}}],
            "methods": ["none"],
            "resources": {"mode": "local"},
        }
    )
    data, run = open_dataset(recipe.data), RunDirectory(Location.of(str(place)))
    claim_run(run, recipe, data.prepared)
    experiment = Experiment(
        recipe=recipe, root=run.root.uri, dataset=run.days.uri, data_schema=data.schema, days=data.days
    )
    produce(experiment, data, None)
    on_ray = recipe.model_copy(update={"resources": recipe.resources.model_copy(update={"mode": "ray"})})
    return experiment.model_copy(update={"recipe": on_ray})


def fresh(experiment: Experiment, place: Path) -> Experiment:
    """The same days and supervision, and no VM trained."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(Path(experiment.root) / "supervision", place / "supervision")
    return experiment.model_copy(update={"root": Location.of(str(place)).uri})


def one_pass(experiment: Experiment, variants: Sequence[VariantConfig]) -> None:
    train_vertical_models(experiment, min(CORES, len(variants)), variants)


def a_run_each(experiment: Experiment, variants: Sequence[VariantConfig]) -> None:
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda variant: train_vertical_models(experiment, 1, [variant]), variants))


def one_after_the_other(experiment: Experiment, variants: Sequence[VariantConfig]) -> None:
    for variant in variants:
        train_variants(experiment, [variant])


def left_by(experiment: Experiment, variants: Sequence[VariantConfig]) -> list[str]:
    """Results and the checksums of checkpoints, to be compared between the sides."""
    lines = [Outcome.model_validate_json(place.read()).line for place in experiment.outcome_files(variants)]
    left = [json.dumps(line) for line in lines]
    for variant in variants:
        name = variant_name(variant.vm.name, variant.method, variant.seed)
        left += [require(experiment.run.checkpoints(name).day(experiment.vm_days[-1])).files[0].sha256]
    return left


Side = Callable[[Experiment, Sequence[VariantConfig]], None]


def measured(side: Side, experiment: Experiment, variants: Sequence[VariantConfig]) -> Round:
    """One side, into an empty run directory, with Ray's processes."""
    started = time.perf_counter()
    with watching(os.getpid(), lambda process: "self" if process.pid == os.getpid() else "others") as usage:
        side(experiment, variants)
        seconds = time.perf_counter() - started
    return Round(seconds, usage().all_cpu_seconds)


def measured_here(side: Side, experiment: Experiment, variants: Sequence[VariantConfig]) -> Round:
    """One side in this process."""
    started, cpu_started = time.perf_counter(), time.process_time()
    side(experiment, variants)
    return Round(time.perf_counter() - started, time.process_time() - cpu_started)


def compare(sizes: Sizes) -> list[dict[str, Any]]:
    """Both sides in alternating rounds, each round into empty run directories."""
    variants = variants_of(sizes.batch)[: sizes.variants]
    sides: dict[str, Side] = {"ours": one_pass, "theirs": a_run_each}
    alone: dict[str, Side] = {"ours": train_variants, "theirs": one_after_the_other}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        experiment = supervised_days(place / "made", sizes)
        train_variants(fresh(experiment, place / "warm"), variants[:1])  # torch's first steps are dear
        here = _alternating(alone, measured_here, experiment, variants, place, sizes.rounds)
        with ray_cluster(experiment.recipe, None, place / "logs"):
            runs = _alternating(sides, measured, experiment, variants, place, sizes.rounds)
    what = (
        f"{len(variants)} variants, {sizes.rows:,} rows a day, {sizes.days - 2} days of training, batch {sizes.batch}"
    )
    return [
        _row(f"seconds on the clock, {what}", runs, lambda one: one.seconds),
        _row(f"CPU seconds of all processes, {what}", runs, lambda one: one.cpu_seconds),
        _row(f"CPU seconds in one process without Ray, {what}", here, lambda one: one.cpu_seconds),
    ]


def compare_stacked(sizes: Sizes, device: torch.device) -> list[dict[str, Any]]:
    """Variants side by side in a wider model, beside the same ones one after the other on each batch."""
    found: dict[str, list[Round]] = {"stacked": [], "in turn": []}
    lines: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        experiment = supervised_days(place / "made", sizes)
        for index in range(sizes.rounds + 1):  # the first one, where a device starts, does not count
            for name in ("stacked", "in turn") if index % 2 else ("in turn", "stacked"):
                variants = variants_of(sizes.batch, stack=name == "stacked")[: sizes.variants]
                run = fresh(experiment, place / name.replace(" ", "_"))
                one = measured_here(lambda a, b: train_variants(a, b, device), run, variants)
                places = run.outcome_files(variants)
                lines[name] = [Outcome.model_validate_json(each.read()).line for each in places]
                if index:
                    found[name].append(one)
                    print(f"  {name}: {one}, load average {os.getloadavg()[0]:.1f}", flush=True)
    off = max(abs(a["ne"] - b["ne"]) for a, b in zip(lines["stacked"], lines["in turn"], strict=True))
    assert 0 < off < LARGEST_DIFFERENCE, f"NE of the two sides is up to {off} apart"
    what = f"{sizes.variants} variants on {device} stacked, batch {sizes.batch}, NE {off:.1e} from one after the other"
    rounds = {"ours": found["stacked"], "theirs": found["in turn"]}
    return [
        _row(f"seconds on the clock, {what}", rounds, lambda one: one.seconds),
        _row(f"CPU seconds, {what}", rounds, lambda one: one.cpu_seconds),
    ]


def _alternating(
    sides: dict[str, Side],
    measure: Callable[[Side, Experiment, Sequence[VariantConfig]], Round],
    experiment: Experiment,
    variants: Sequence[VariantConfig],
    place: Path,
    rounds: int,
) -> dict[str, list[Round]]:
    found: dict[str, list[Round]] = {name: [] for name in sides}
    for index in range(rounds):
        left = {}
        for name, side in list(sides.items())[:: 1 if index % 2 == 0 else -1]:  # who comes second finds warm caches
            run = fresh(experiment, place / name)
            found[name].append(measure(side, run, variants))
            left[name] = left_by(run, variants)
            print(f"  {name}: {found[name][-1]}, load average {os.getloadavg()[0]:.1f}", flush=True)
        assert left["ours"] == left["theirs"], "the sides' results or checkpoints differ"
        assert len(set(left["ours"])) == len(left["ours"]), "variants do not differ"
    return found


def _row(what: str, rounds: dict[str, list[Round]], figure: Callable[[Round], float]) -> dict[str, Any]:
    ours, theirs = (statistics.median(map(figure, rounds[name])) for name in ("ours", "theirs"))
    return {
        "what": what,
        "ours": round(ours, 2),
        "theirs": round(theirs, 2),
        "unit": "s",
        "ratio": round(theirs / ours, 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows and days, one round")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    for field in SIZES:
        full, quick = getattr(FULL, field), getattr(QUICK, field)
        parser.add_argument(f"--{field}", type=int, help=f"{full} where it is left out, {quick} with --quick")
    parser.add_argument("--stack", metavar="DEVICE", help="compare stacked variants alone, on cuda or cpu")
    options = parser.parse_args(arguments)
    base = QUICK if options.quick else FULL
    sizes = Sizes(*(getattr(options, name) or getattr(base, name) for name in SIZES))
    begin_computing()
    machine = describe_machine("numpy", "pyarrow", "ray", "torch")
    found = compare(sizes) if options.stack is None else compare_stacked(sizes, torch.device(options.stack))
    for row in found:
        print(f"{row['what']}: ours {row['ours']}, theirs {row['theirs']} {row['unit']}, ratio {row['ratio']}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
