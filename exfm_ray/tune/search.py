"""The search: batches of trials live through the days that choose, each on a worker, and end early where they lag."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from exfm_ray.config import StudyConfig, VariantConfig
from exfm_ray.data.experiment import Experiment
from exfm_ray.tune.scores import instances
from exfm_ray.tune.trial_book import OpenTrial, TrialBook
from exfm_ray.tune.worker_pool import WorkerPool


@dataclass
class Batch:
    """Trials that share a worker and its passes over the days."""

    trials: list[OpenTrial]
    day: int
    """that they are being evaluated on"""
    started: float
    seconds: dict[int, float] = field(default_factory=dict)
    """by trial, of a worker's time"""

    def variants(self) -> list[VariantConfig]:
        return [variant for trial in self.trials for variant in trial.variants]


def choosing_days(study: StudyConfig, experiment: Experiment) -> range:
    """Evaluated days that choose; VMs are trained on the one before each."""
    return range(experiment.supervised_days.start + 1, study.choose_through_day + 1)


def search(
    study: StudyConfig,
    experiment: Experiment,
    book: TrialBook,
    pool: WorkerPool,
    deadline: float | None,
    tell: Callable[[str], None],
) -> None:
    """Train trials until the study has all, or until the time is over: those under way then go on another time.

    Args:
        deadline: on time.monotonic's clock; None: no limit.
        tell: says a line to the user.
    """
    days = choosing_days(study, experiment)
    batches: dict[int, Batch] = {}
    idle = list(range(pool.workers))
    while True:
        while idle and (deadline is None or time.monotonic() < deadline):
            trials = begun(book, study.at_once)
            if not trials:
                break
            worker = idle.pop()
            batches[worker] = Batch(trials, days.start, time.monotonic())
            pool.live(worker, batches[worker].variants(), days.start)
        if not batches:
            return
        worker_done = pool.finished()
        if worker_done is None:
            continue
        batch = batches[worker_done]
        _settle(study, experiment, book, pool, worker_done, batch, days)
        if batch.trials and (deadline is None or time.monotonic() < deadline):
            batch.day, batch.started = batch.day + 1, time.monotonic()
            pool.live(worker_done, batch.variants(), batch.day)
        else:
            del batches[worker_done]
            idle.append(worker_done)
            tell(f"{len(book.ended())} of {book.trials} trials ended")


def begun(book: TrialBook, most: int) -> list[OpenTrial]:
    """New trials, or those left open, as many as there are up to `most`."""
    trials: list[OpenTrial] = []
    while len(trials) < most and (trial := book.begin()) is not None:
        trials.append(trial)
    return trials


def _settle(
    study: StudyConfig,
    experiment: Experiment,
    book: TrialBook,
    pool: WorkerPool,
    worker: int,
    batch: Batch,
    days: range,
) -> None:
    """A batch's day is done: tell what came out, and let those go that have ended."""
    share = (time.monotonic() - batch.started) / len(batch.trials)
    staying = []
    for trial in batch.trials:
        batch.seconds[trial.number] = batch.seconds.get(trial.number, 0.0) + share
        is_pruned = book.report(trial, list(instances(experiment, trial.variants, [batch.day])))
        if not is_pruned and batch.day < days.stop - 1:
            staying.append(trial)
            continue
        book.end(trial, is_pruned and batch.day < days.stop - 1, batch.seconds[trial.number])
        pool.forget(worker, trial.variants)
    batch.trials = staying
