"""The fleet: one Ray Train run whose workers each train a share of the variants over all days."""

from collections.abc import Sequence
from typing import Any

import ray.train

from exfm_ray.config import VariantConfig
from exfm_ray.data.experiment import Experiment
from exfm_ray.train.process import training_device
from exfm_ray.train.share_out import share_out
from exfm_ray.train.variants import by_rows, train_variants


def shares(experiment: Experiment, variants: Sequence[VariantConfig], workers: int) -> list[list[VariantConfig]]:
    """What each worker trains: variants of one pass together, as far as that leaves no worker idle."""
    groups = by_rows(experiment, variants)
    return [
        [groups[group][member] for group, member in share]
        for share in share_out([len(group) for group in groups], workers)
    ]


def train_fleet(settings: dict[str, Any]) -> None:
    """The training function of the fleet's Ray Train run: every variant of this worker's share, day by day.

    Args:
        settings: `experiment`, an `Experiment` as JSON values, and `shares`, for each worker the `VariantConfig`s that
            it trains, likewise.
    """
    experiment = Experiment.model_validate(settings["experiment"])
    share = settings["shares"][ray.train.get_context().get_world_rank()]
    variants = [VariantConfig.model_validate(variant) for variant in share]
    train_variants(experiment, variants, training_device())
