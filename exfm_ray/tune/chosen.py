"""Which point a study chooses."""

from optuna.study import Study
from optuna.trial import Trial, TrialState

from exfm_ray.config import Chosen, ChosenSetting, StudyConfig
from exfm_ray.errors import UserError
from exfm_ray.tune.point import settings_of


def choose(study: Study, config: StudyConfig) -> Chosen:
    """The trial with the least mean NE over the VMs, which no other one beats in all of them.

    Optuna's own best trial heeds the calibration only where the sampler does, which random and grid do not.

    Raises:
        UserError: no trial is complete, or none within the calibration that is allowed.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    allowed = [trial for trial in complete if all(value <= 0 for value in trial.constraints.values())]
    if not allowed:
        within = config.objective.calibration_within
        reason = f"within objective.calibration_within {within:g}" if within is not None else "with an NE"
        raise UserError(f"trials: none of the study's is complete {reason}; raise it, or ask for more --trials")
    best = min(allowed, key=lambda trial: (sum(trial.values), trial.number))
    settings = settings_of(Trial(study, best._trial_id), config)
    vms = {vm: ChosenSetting(method=s.method, distill=s.distill) for vm, s in settings.items()}
    return Chosen(study=config.name, trial=best.number, vms=vms)
