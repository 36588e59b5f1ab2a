"""The trials of a study, as Optuna's storage holds them: begun, gone on with, ended, and none counted twice."""

import time
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from exfm_ray.config import StudyConfig, VariantConfig
from exfm_ray.tune.drivers import DRIVER
from exfm_ray.tune.point import Setting, settings_of, variants_of
from exfm_ray.tune.sampling import pruner_of, sampler_of
from exfm_ray.tune.scores import Instance, Score

ORPHANED_SECONDS = 60.0
"""A trial that nobody has claimed by then is of a driver that died between asking and claiming."""
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass
class OpenTrial:
    """A trial that is being trained."""

    trial: Trial
    settings: dict[str, Setting]
    variants: list[VariantConfig]
    found: list[Instance] = field(default_factory=list)

    @property
    def number(self) -> int:
        return self.trial.number


def open_study(config: StudyConfig, storage: optuna.storages.BaseStorage | str) -> Study:
    """The study in its storage, made there if it is new; the paper's points are tried first."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    count = len(config.searched_vms) if config.objective.together == "pareto" else 1
    study = optuna.create_study(
        storage=storage,
        study_name=config.name,
        directions=["minimize"] * count,
        pruner=pruner_of(config),
        load_if_exists=True,
    )
    for point in config.points:
        study.enqueue_trial(_named(config, point), skip_if_exists=True)
    return study


def _named(config: StudyConfig, point: dict[str, float]) -> dict[str, Any]:
    """A point by Optuna's names. Of several methods it is the last one's, for which most dimensions count."""
    prefixes = [f"{vm}." for vm in config.searched_vms] if config.per_vm else [""]
    method = {"method": config.space.method[-1]} if len(config.space.method) > 1 else {}
    return {f"{prefix}{name}": value for prefix in prefixes for name, value in {**method, **point}.items()}


class TrialBook:
    """Hands out a study's trials to one driver and takes their ends.

    Several drivers may share a study. A trial is its driver's from the moment it is asked for; where that one dies, it
    goes on with it when it is started again.

    Args:
        driver: names this driver, the same when it is started again: its run directory.
        trials: that the study shall have when it ends, those of other drivers counted in.
    """

    def __init__(self, study: Study, config: StudyConfig, driver: str, trials: int) -> None:
        self.study, self.config, self.driver, self.trials = study, config, driver, trials
        self._left_open = [trial for trial in self._running() if trial.user_attrs.get(DRIVER) == driver]

    def begin(self) -> OpenTrial | None:
        """A trial that was left open, or a new one; None where the study has all that it shall have."""
        if self._left_open:
            left = self._left_open.pop(0)
            self.study.sampler = sampler_of(self.config, left.number)  # for what was not drawn yet
            return self._opened(Trial(self.study, left._trial_id))
        self._let_orphans_go()
        if len(self.ended()) + len(self._running()) >= self.trials:
            return None
        self.study.sampler = sampler_of(self.config, len(self.study.get_trials(deepcopy=False)))
        trial = self.study.ask()
        trial.set_user_attr(DRIVER, self.driver)
        return self._opened(trial)

    def _opened(self, trial: Trial) -> OpenTrial:
        settings = settings_of(trial, self.config)
        return OpenTrial(trial, settings, list(variants_of(self.config, trial.number, settings)))

    def report(self, opened: OpenTrial, found: list[Instance]) -> bool:
        """Tell a trial's newest instances; whether it should end here."""
        before = len(opened.found)
        opened.found += found
        if self._has_ended(opened):
            return False
        if self.config.objective.together == "pareto" or Score.of(opened.found) is None:
            return False
        for step, instance in enumerate(found, start=before):
            score = Score.of([instance])
            assert score is not None
            opened.trial.report(sum(score.ne) / len(score.ne), step)
        return opened.trial.should_prune()

    def end(self, opened: OpenTrial, is_pruned: bool, seconds: float) -> None:
        """A trial has lived through the days that choose, or ends early. One whose NE is undefined has failed."""
        if self._has_ended(opened):
            return
        score, trial = Score.of(opened.found), opened.trial
        days = sorted({instance.day for instance in opened.found})
        trial.set_user_attr("days", days)
        trial.set_user_attr("seconds", round(seconds, 3))
        trial.set_user_attr("methods", {vm: setting.method for vm, setting in opened.settings.items()})
        if score is None:
            self.study.tell(trial, state=TrialState.FAIL)
            return
        for name in ("ne", "standard_error", "calibration"):
            trial.set_user_attr(name, list(getattr(score, name)))
        if (within := self.config.objective.calibration_within) is not None:
            for vm, beyond in zip(opened.settings, score.violations(within), strict=True):
                trial.set_constraint(vm, beyond)
        if is_pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        values = score.ne if self.config.objective.together == "pareto" else (sum(score.ne) / len(score.ne),)
        self.study.tell(trial, values)

    def ended(self) -> list[FrozenTrial]:
        """Trials that are complete or ended early, by number."""
        return self.study.get_trials(deepcopy=False, states=ENDED)

    def _has_ended(self, opened: OpenTrial) -> bool:
        """Where another process of the same driver has ended it, nothing is counted again."""
        return self.study.get_trials(deepcopy=False)[opened.number].state.is_finished()

    def _running(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _let_orphans_go(self) -> None:
        for trial in self._running():
            begun = trial.datetime_start
            if DRIVER not in trial.user_attrs and begun and time.time() - begun.timestamp() > ORPHANED_SECONDS:
                self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                if fixed := trial.system_attrs.get("fixed_params"):
                    self.study.enqueue_trial(fixed)
