"""The cascades of a run, evaluated day by day: what methods' VMs of three stages show together, beside the true best.

A cascade of day t has VMs that are trained through day t - 1, as published; nothing of the logged day t is read.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from math import fsum
from typing import Any

import torch

from exfm_ray.cascade.plan import STAGES, TASK, DomainCascade, Trial, domain_cascades, trials
from exfm_ray.cascade.scorers import Scorer, scorer_of
from exfm_ray.cascade.stages import Truth, through_stages, truth_of
from exfm_ray.config import CascadeConfig, DriftData
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.drift.requests import Requests
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.hashing import Floats
from exfm_ray.data.prepare import Spread
from exfm_ray.data.run_directory import Outcome, variant_name
from exfm_ray.data.snapshots import SnapshotDatabase


def evaluate_cascades(experiment: Experiment, spread: Spread = map) -> None:
    """Evaluate every cascade on every day, but for what is committed; its VMs must be trained.

    Args:
        spread: maps over the domains' days, in any processes.
    """
    places = [
        place
        for place, (cascade, day) in enumerate(_days(experiment))
        if any(not trial.outcome_file(experiment.run, day).is_file() for trial in _of(experiment, cascade))
    ]
    for _ in spread(partial(evaluate_day, experiment), places):
        pass


def _days(experiment: Experiment) -> list[tuple[DomainCascade, int]]:
    return [(cascade, day) for day in experiment.supervised_days[1:] for cascade in domain_cascades(experiment.recipe)]


def _of(experiment: Experiment, cascade: DomainCascade) -> list[Trial]:
    return [trial for trial in trials(experiment.recipe) if trial.cascade == cascade]


def evaluate_day(experiment: Experiment, place: int) -> None:
    """Commit all cascades of one domain on one day that are not committed yet.

    Args:
        place: of the domain and day, in the order of `_days`.
    """
    torch.set_num_threads(1)  # as in training: sums run in the same order everywhere
    cascade, day = _days(experiment)[place]
    evaluation = DayEvaluation(experiment, cascade, day)
    for trial in _of(experiment, cascade):
        file = trial.outcome_file(experiment.run, day)
        if not file.is_file():
            stopwatch = Stopwatch.start()
            line = evaluation.line(trial)
            file.write(Outcome(line=line, made=stopwatch.made()).model_dump_json(indent=1).encode())


@dataclass(frozen=True)
class DayEvaluation:
    """One domain on one day: its requests and their truth are made once for all methods and seeds."""

    experiment: Experiment
    cascade: DomainCascade
    day: int

    @property
    def config(self) -> CascadeConfig:
        config = self.experiment.recipe.evaluate.cascade
        assert config is not None
        return config

    @cached_property
    def requests(self) -> Requests:
        data = self.experiment.recipe.data
        assert isinstance(data, DriftData)
        return Requests(data, self.day, self.cascade.domain, self.config.requests, self.config.candidates)

    @cached_property
    def truth(self) -> Truth:
        return truth_of(self.requests, self.config.retrieved, self.config.shown)

    @property
    def fm_day(self) -> int:
        """That the FM which supervises the day is trained through."""
        return self.experiment.supervising_snapshot(self.day)

    def scorer(self, vm: str, trial: Trial) -> Scorer:
        snapshots = self.experiment.run.snapshots(variant_name(vm, trial.method, trial.seed))
        return scorer_of(SnapshotDatabase(snapshots), self.day - 1, TASK, self.requests)

    def line(self, trial: Trial) -> dict[str, Any]:
        """A line of cascade.jsonl."""
        config, experiment = self.config, self.experiment
        counts = (config.retrieved, config.early, config.shown)
        scorers = [self.scorer(vm.name, trial) for vm in self.cascade.vms]
        verdict = through_stages(self.requests, self.truth, scorers, counts)
        supervisor = experiment.snapshot_identity(experiment.supervising_snapshot(self.day - 1))
        return {
            "domain": self.cascade.domain,
            "method": trial.method,
            "seed": trial.seed,
            "fm": experiment.recipe.fm.name,
            "train_day": self.day - 1,
            "eval_day": self.day,
            "vms": dict(zip(STAGES, (vm.name for vm in self.cascade.vms), strict=True)),
            "requests": config.requests,
            "candidates": config.candidates,
            "let_through": dict(zip(STAGES, counts, strict=True)),
            "recall": dict(zip(STAGES, _means(verdict.recall), strict=True)),
            "recall_of_entered": dict(zip(STAGES, _means(verdict.recall_of_entered), strict=True)),
            "value": verdict.value,
            "value_random": self.truth.random_value(),
            **self.by_fm,
            "fm_snapshot": None if trial.method == "none" else supervisor,
        }

    @cached_property
    def by_fm(self) -> dict[str, Any]:
        """What the FM would show if it could score every candidate of the first requests."""
        count = self.config.fm_requests
        if count == 0:
            return {"fm_requests": 0, "value_fm": None, "recall_fm": None}
        fm = scorer_of(SnapshotDatabase(self.experiment.snapshots), self.fm_day, TASK, self.requests)
        verdict = through_stages(self.requests, self.truth, [fm], [self.config.shown], first=count)
        return {"fm_requests": count, "value_fm": verdict.value, "recall_fm": _means(verdict.recall)[0]}


def _means(of_requests: Floats) -> list[float]:
    """Over the requests, by stage."""
    return [fsum(values) / len(values) for values in of_requests.T]
