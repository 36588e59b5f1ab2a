"""Trials per hour of a study: trials that share passes in long-lived workers, beside a Ray Train run for each.

    python benchmarks/tune.py [--quick] [--json FILE] [--rows N] [--days N] [--trials N] [--at-once N] [--rounds N]

Both sides find Ray started and the days supervised, ask one Optuna sampler (random, so that both get the same points),
and train by the same code for the same days; nothing ends early. The values of every trial must be the same to the bit.
Sides take turns; figures are medians over the rounds. What both leave out: the simulation before the search, which a
study makes once, and the chosen point's training after it.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from machine import describe_machine

from exfm_ray.cluster import ray_cluster
from exfm_ray.config import StudyConfig
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.run_start import claim_run
from exfm_ray.simulation import produce
from exfm_ray.train.launch import train_vertical_models
from exfm_ray.tune.scores import instances
from exfm_ray.tune.search import choosing_days, search
from exfm_ray.tune.trial_book import OpenTrial, TrialBook, open_study
from exfm_ray.tune.worker_pool import worker_pool

CORES = os.cpu_count() or 1
DOMAINS = 3


@dataclass(frozen=True)
class Sizes:
    rows: int
    """of each day that the VM sees"""
    days: int
    """the first trains the FM alone; the last but one is the last that chooses, so a VM trains on two fewer"""
    trials: int
    at_once: int
    rounds: int


FULL, QUICK = Sizes(32_768, 6, 64, 8, 1), Sizes(8_192, 4, 8, 4, 1)


def study_of(sizes: Sizes) -> StudyConfig:
    """One VM of the drifting stream and the three scales, one seed."""
    recipe = {
        "name": "benchmark",
        "data": {
            "type": "drift",
            "days": sizes.days,
            "events_per_day": sizes.rows * DOMAINS * 11 // 18,  # the first of three domains has 6 / 11 of them
            "domains": DOMAINS,
            "stages": ["later"],
        },
        "fm": {"model": {"type": "dcnv2", "embedding_dim": 16, "cross_layers": 1, "hidden": [64]}},
        "vms": [{"name": "feed", "model": {"type": "deepfam", "embedding_dim": 8, "hidden": [64, 32]}}],
        "methods": ["none"],
    }
    return StudyConfig.model_validate(
        {
            "name": "benchmark",
            "recipe": recipe,
            "space": {
                "label_scale": {"low": 0.3, "high": 3},
                "grad_scale": {"low": 0.1, "high": 10},
                "loss_weight": {"low": 0.1, "high": 10},
            },
            "choose_through_day": sizes.days - 1,
            "trials": sizes.trials,
            "at_once": sizes.at_once,
            "sampler": {"type": "random"},
            "pruner": {"type": "none"},
        }
    )


def supervised(study: StudyConfig, place: Path) -> Experiment:
    """The study's days and supervision, made by the project's own code in this process."""
    local = study.recipe.resources.model_copy(update={"mode": "local"})
    recipe = study.recipe.model_copy(update={"resources": local})
    data, run = open_dataset(recipe.data), RunDirectory(Location.of(str(place)))
    claim_run(run, recipe, data.prepared)
    made = Experiment(recipe=recipe, root=run.root.uri, dataset=run.days.uri, data_schema=data.schema, days=data.days)
    produce(made, data, None)
    # a Ray Train run lives through all days that it finds; the last is not for choosing, and theirs would train for it
    return made.model_copy(update={"recipe": study.recipe, "days": study.choose_through_day})


def ours(study: StudyConfig, experiment: Experiment, book: TrialBook) -> None:
    with worker_pool(experiment, CORES) as pool:
        search(study, experiment, book, pool, None, lambda line: None)


def a_run_each(study: StudyConfig, experiment: Experiment, book: TrialBook) -> None:
    """As many at once as there are cores."""
    asking = Lock()

    def one(trial: OpenTrial) -> None:
        train_vertical_models(experiment, 1, trial.variants)
        with asking:
            book.report(trial, list(instances(experiment, trial.variants, choosing_days(study, experiment))))
            book.end(trial, is_pruned=False, seconds=0.0)

    trials = [trial for _ in range(study.trials) if (trial := book.begin()) is not None]
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(one, trials))


Side = Callable[[StudyConfig, Experiment, TrialBook], None]
SIDES: dict[str, Side] = {"ours": ours, "theirs": a_run_each}


def compare(sizes: Sizes) -> list[dict[str, Any]]:
    """Both sides in alternating rounds, each with a storage and names of its own."""
    study = study_of(sizes)
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        made = supervised(study, place / "made")
        with ray_cluster(study.recipe, None, place / "logs"):
            for index in range(sizes.rounds):
                values = {}
                for name, side in list(SIDES.items())[:: 1 if index % 2 == 0 else -1]:
                    root = place / f"{name}{index}"
                    root.mkdir()
                    (root / "supervision").symlink_to(Path(made.root) / "supervision")
                    experiment = made.model_copy(update={"root": str(root)})
                    book = TrialBook(open_study(study, f"sqlite:///{root}/study.db"), study, str(root), study.trials)
                    started = time.perf_counter()
                    side(study, experiment, book)
                    seconds[name].append(time.perf_counter() - started)
                    values[name] = {trial.number: trial.values for trial in book.ended()}
                    load = os.getloadavg()[0]
                    print(f"  {name}: {seconds[name][-1]:.1f} s, load average {load:.1f}", flush=True)
                assert len(values["ours"]) == study.trials
                assert values["ours"] == values["theirs"], "the sides' trials differ"
    rates = {name: 3600 * sizes.trials / statistics.median(found) for name, found in seconds.items()}
    what = f"{sizes.trials} trials, {sizes.rows:,} rows a day, {sizes.days - 3} days of training"
    return [
        {
            "what": f"trials per hour, {what}",
            "ours": round(rates["ours"], 1),
            "theirs": round(rates["theirs"], 1),
            "unit": "1/h",
            "ratio": round(rates["ours"] / rates["theirs"], 3),
        }
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows, days and trials")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    for field in ("rows", "days", "trials", "at_once", "rounds"):
        full, quick = getattr(FULL, field), getattr(QUICK, field)
        parser.add_argument(
            f"--{field.replace('_', '-')}", type=int, help=f"{full} where it is left out, {quick} with --quick"
        )
    options = parser.parse_args(arguments)
    base = QUICK if options.quick else FULL
    sizes = Sizes(*(getattr(options, name) or getattr(base, name) for name in Sizes.__dataclass_fields__))
    found = compare(sizes)
    for row in found:
        print(f"{row['what']}: ours {row['ours']}, theirs {row['theirs']} {row['unit']}, ratio {row['ratio']}")
    if options.json:
        machine = describe_machine("numpy", "optuna", "pyarrow", "ray", "torch")
        options.json.write_text(json.dumps({"machine": machine, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
