"""Which point a study chooses."""

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from exfm_ray.config import Chosen, ChosenSetting, StudyConfig
from exfm_ray.errors import UserError
from exfm_ray.tune.point import settings_of


def choose(study: Study, config: StudyConfig) -> Chosen:
    """The best trial; of a front the one with the least mean NE.

    Raises:
        UserError: no trial is complete, or none within the calibration that is allowed.
    """
    front = [trial for trial in _best(study) if trial.values]
    if not front:
        within = config.objective.calibration_within
        reason = f"within objective.calibration_within {within:g}" if within is not None else "with an NE"
        raise UserError(f"trials: none of the study's is complete {reason}; raise it, or ask for more --trials")
    best = min(front, key=lambda trial: (sum(trial.values), trial.number))
    settings = settings_of(Trial(study, best._trial_id), config)
    vms = {vm: ChosenSetting(method=s.method, distill=s.distill) for vm, s in settings.items()}
    return Chosen(study=config.name, trial=best.number, vms=vms)


def _best(study: Study) -> list[FrozenTrial]:
    """Feasible trials that no other one beats."""
    return study.best_trials
