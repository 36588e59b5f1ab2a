"""Who proposes points and who ends trials early: Optuna's samplers and pruners, as a study asks for them."""

import warnings
from collections.abc import Sequence
from statistics import fmean, median

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, GPSampler, GridSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from exfm_ray.config import StudyConfig

LEAST_INSTANCES = 2
"""days times seeds before a trial may end"""


def sampler_of(study: StudyConfig, trials: int) -> BaseSampler:
    """The sampler that proposes the next point.

    Samplers learn from the study's trials alone. What they draw at random depends on how many trials there are, so
    that a driver that starts again does not draw what it has drawn before.

    Args:
        trials: that the study has already.
    """
    with warnings.catch_warnings():  # groups are experimental
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _sampler(study, study.sampler.seed + trials)


def _sampler(study: StudyConfig, seed: int) -> BaseSampler:
    config = study.sampler
    if config.type == "random":
        return RandomSampler(seed)
    if config.type == "grid":
        prefixes = [f"{vm}." for vm in study.searched_vms] if study.per_vm else [""]
        space = {f"{prefix}{name}": study.space.values(name) for prefix in prefixes for name in study.space.searched()}
        return AskedGrid(space, config.seed)
    if config.type == "gp":
        return GPSampler(seed=seed, n_startup_trials=config.startup_trials)
    if config.type == "nsga2":
        return NSGAIISampler(seed=seed)
    return TPESampler(
        seed=seed,
        multivariate=True,
        group=True,
        constant_liar=True,
        n_startup_trials=config.startup_trials,
    )


class AskedGrid(GridSampler):
    """A grid that is asked: Optuna's own ends a loop after the last point, and there is none."""

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        pass


def pruner_of(study: StudyConfig) -> BasePruner:
    config = study.pruner
    if config.type == "none":
        return NopPruner()
    rule: BasePruner = MedianOverInstances()
    if config.type == "wilcoxon":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            rule = WilcoxonPruner(p_threshold=config.p_threshold, n_startup_steps=LEAST_INSTANCES)
    return AfterStartup(rule, config.startup_trials)


class AfterStartup(BasePruner):
    """A rule that holds once some trials are complete."""

    def __init__(self, rule: BasePruner, startup_trials: int) -> None:
        self._rule, self._startup_trials = rule, startup_trials

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return len(complete) >= self._startup_trials and self._rule.prune(study, trial)


class MedianOverInstances(BasePruner):
    """Ends a trial whose mean so far is above the median of complete trials' means on the same days and seeds.

    Optuna's own median rule takes each trial's best value so far, which is for curves that only fall.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        own = trial.intermediate_values
        if len(own) < LEAST_INSTANCES:
            return False
        means = [
            fmean(other.intermediate_values[step] for step in own)
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if own.keys() <= other.intermediate_values.keys()
        ]
        return bool(means) and fmean(own.values()) > median(means)
