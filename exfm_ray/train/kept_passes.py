"""The models that a worker keeps between their days."""

from collections.abc import Sequence

import torch

from exfm_ray.config import VariantConfig
from exfm_ray.data.experiment import Experiment
from exfm_ray.train.shared_pass import SharedPass
from exfm_ray.train.team import ALONE, Team

GIB = 2**30


class KeptPasses:
    """Groups of variants by number, as their last checkpoints have them; those used last stay in memory.

    However many VMs there are, a worker holds no more than the recipe allows, beside the group that it works on.

    Args:
        team: the workers that train each model together; left out: this one alone.
    """

    def __init__(
        self,
        experiment: Experiment,
        groups: Sequence[Sequence[VariantConfig]],
        device: torch.device,
        team: Team = ALONE,
    ) -> None:
        self._experiment, self._groups, self._device, self._team = experiment, groups, device, team
        self._most = experiment.recipe.resources.kept_gib * GIB
        self._kept: dict[int, SharedPass] = {}

    def ready_for(self, group: int, day: int) -> SharedPass:
        """A group as it is before a day, kept or read again."""
        shared = self._kept.pop(group, None)
        self._forget()
        if shared is None or not shared.is_ready_for(day):
            shared = SharedPass(self._experiment, self._groups[group], self._device, self._team)
        self._kept[group] = shared
        return shared

    def _forget(self) -> None:
        """Those not used for longest, until the others fit."""
        while self._kept and sum(shared.bytes for shared in self._kept.values()) > self._most:
            del self._kept[next(iter(self._kept))]
