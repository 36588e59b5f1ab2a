"""Ray Train runs: one for the FM's stream, one for the fleet of VMs."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from exfm_ray.config import VariantConfig
from exfm_ray.config.placement import Placement
from exfm_ray.data.experiment import Experiment
from exfm_ray.train.fleet import train_fleet
from exfm_ray.train.foundation import train_foundation_stream
from exfm_ray.train.variants import grouped


def train_foundation_model(experiment: Experiment) -> None:
    """Train the FM through its last day; snapshots appear on the way."""
    settings = {"experiment": experiment.model_dump(mode="json")}
    _run(experiment, "fm", train_foundation_stream, settings, 1, experiment.recipe.resources.fm_placement)


def train_vertical_models(
    experiment: Experiment, workers: int, variants: Sequence[VariantConfig] | None = None
) -> None:
    """Train and evaluate variants over all their days, shared by `workers` processes.

    Args:
        workers: at least one.
        variants: as `train_variants` takes them; left out: the recipe's.
    """
    recipe = experiment.recipe
    groups = grouped(experiment, recipe.variants() if variants is None else variants, workers)
    settings = {
        "experiment": experiment.model_dump(mode="json"),
        "groups": [[variant.model_dump(mode="json") for variant in group] for group in groups],
    }
    least = recipe.resources.fleet_workers_least
    wanted = workers if least is None or least >= workers else (least, workers)
    _run(experiment, "fleet", train_fleet, settings, wanted, recipe.resources.vm_placement)


def _run(
    experiment: Experiment,
    name: str,
    function: Callable[[dict[str, Any]], None],
    settings: dict[str, Any],
    workers: int | tuple[int, int],
    placement: Placement,
) -> None:
    """Run a training function on Ray Train; where a worker dies, all start again and go on from their checkpoints.

    Args:
        workers: how many, or the fewest and the most that will do.
    """
    resources = experiment.recipe.resources
    local = resources.mode == "local"
    scaling = ScalingConfig(
        num_workers=0 if local else workers,  # type: ignore[arg-type]  # a pair is allowed
        use_gpu=placement.gpus > 0,
        resources_per_worker=None if local else placement.resources,
        accelerator_type=None if local else placement.accelerator,
    )
    # a name of its own: our checkpoints carry the state, Ray Train must not look for one
    run_config = RunConfig(
        name=f"{name}-{uuid.uuid4().hex[:8]}",
        storage_path=str(experiment.run.logs / "train"),
        failure_config=FailureConfig(max_failures=resources.max_failures),
    )
    TorchTrainer(function, train_loop_config=settings, scaling_config=scaling, run_config=run_config).fit()
