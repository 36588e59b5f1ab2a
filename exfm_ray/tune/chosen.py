"""The point that a study chooses, and its variants for the days that report."""

from collections.abc import Iterator

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial
from pydantic import BaseModel, ConfigDict

from exfm_ray.config import DistillConfig, StudyConfig, VariantConfig
from exfm_ray.errors import UserError
from exfm_ray.schema import Method
from exfm_ray.tune.point import settings_of


class ChosenSetting(BaseModel):
    """How one VM is best distilled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    distill: DistillConfig


class Chosen(BaseModel):
    """What a study found, as far as the days that choose can tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    trial: int
    vms: dict[str, ChosenSetting]
    """by name"""

    def variants(self, study: StudyConfig) -> Iterator[VariantConfig]:
        """Its variants from the recipe's seeds, under names of their own."""
        for vm in study.recipe.vms:
            if (setting := self.vms.get(vm.name)) is not None:
                named = vm.model_copy(update={"name": self.name_of(vm.name), "distill": setting.distill})
                for seed in study.recipe.seeds:
                    yield VariantConfig(vm=named, method=setting.method, seed=seed)

    def name_of(self, vm: str) -> str:
        """How its version of a VM is named among results."""
        return f"{vm}-chosen{self.trial:05d}"


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
