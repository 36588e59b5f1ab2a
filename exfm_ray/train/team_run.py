"""The workers of one VM: a Ray Train run of its own, all of whose workers train each of the VM's variants together."""

from typing import Any

from exfm_ray.config import VariantConfig
from exfm_ray.data.experiment import Experiment
from exfm_ray.train.kept_passes import KeptPasses
from exfm_ray.train.process import training_device
from exfm_ray.train.team import Team


def train_as_team(settings: dict[str, Any]) -> None:
    """The training function of the VM's Ray Train run; goes on from what is committed.

    Args:
        settings: `experiment`, an `Experiment` as JSON values, and `groups` of `VariantConfig`s, likewise. The groups
            live through their days in turn, since every worker must come to the same day of the same group next.
    """
    experiment = Experiment.model_validate(settings["experiment"])
    groups = [[VariantConfig.model_validate(variant) for variant in group] for group in settings["groups"]]
    device = training_device()
    kept = KeptPasses(experiment, groups, device, Team.here(device))
    for day in experiment.supervised_days:
        for group in range(len(groups)):
            kept.ready_for(group, day).live_through(day)
