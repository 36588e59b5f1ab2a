"""A process that trains the variants of trials, day by day."""

from collections.abc import Sequence
from typing import Any

import torch

from exfm_ray.computing import begin_computing
from exfm_ray.config import VariantConfig
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.run_directory import variant_name
from exfm_ray.train.shared_pass import SharedPass
from exfm_ray.train.variants import CPU, by_rows

Identity = tuple[str, str, int]


class TrialWorker:
    """Keeps the models of the trials that it is at; in this process, or as a Ray actor.

    Where it is replaced by another one, that one goes on from the checkpoints.

    Args:
        experiment: an `Experiment` as JSON values; its days are supervised.
    """

    def __init__(self, experiment: dict[str, Any]) -> None:
        begin_computing()
        self._experiment = Experiment.model_validate(experiment)
        self._device = torch.device("cuda") if torch.cuda.is_available() else CPU
        self._passes: list[SharedPass] = []

    def live(self, variants: list[dict[str, Any]], day: int) -> None:
        """Train variants on the day before, where they have not been, and evaluate them on `day`.

        Args:
            variants: `VariantConfig`s as JSON values. Models of others are forgotten.
        """
        wanted = [VariantConfig.model_validate(variant) for variant in variants]
        self._passes = [self._pass_of(group) for group in by_rows(self._experiment, wanted)]
        for shared in self._passes:
            for before in range(self._experiment.vm_days.start, day):
                shared.train(before)
            shared.evaluate(day)

    def forget(self, variants: list[dict[str, Any]]) -> None:
        """Delete checkpoints and snapshots of variants whose trials have ended; their results stay."""
        for variant in map(VariantConfig.model_validate, variants):
            name = variant_name(variant.vm.name, variant.method, variant.seed)
            self._experiment.run.checkpoints(name).delete()
            self._experiment.run.snapshots(name).delete()

    def _pass_of(self, group: Sequence[VariantConfig]) -> SharedPass:
        wanted = {_identity(variant) for variant in group}
        for shared in self._passes:
            held = {_identity(variant.config) for variant in shared.variants}
            if wanted <= held:
                shared.keep(lambda config: _identity(config) in wanted)
                return shared
        return SharedPass(self._experiment, group, self._device)


def _identity(variant: VariantConfig) -> Identity:
    return variant.vm.name, variant.method, variant.seed
