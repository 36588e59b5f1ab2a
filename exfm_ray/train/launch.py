"""Ray Train runs: one for the FM's stream, one for the fleet of VMs."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from ray.exceptions import RayActorError
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer

from exfm_ray.config import VariantConfig
from exfm_ray.data.experiment import Experiment
from exfm_ray.train.fleet import shares, train_fleet
from exfm_ray.train.foundation import train_foundation_stream


def train_foundation_model(experiment: Experiment) -> None:
    """Train the FM through its last day; snapshots appear on the way."""
    settings = {"experiment": experiment.model_dump(mode="json")}
    _run(experiment, "fm", train_foundation_stream, settings, 1, experiment.recipe.resources.gpus_per_fm)


def train_vertical_models(
    experiment: Experiment, workers: int, variants: Sequence[VariantConfig] | None = None
) -> None:
    """Train and evaluate variants over all their days, shared by `workers` processes.

    Args:
        variants: as `train_variants` takes them; left out: the recipe's.
    """
    recipe = experiment.recipe
    parts = shares(experiment, recipe.variants() if variants is None else variants, max(workers, 1))
    settings = {
        "experiment": experiment.model_dump(mode="json"),
        "shares": [[variant.model_dump(mode="json") for variant in part] for part in parts],
    }
    _run(experiment, "fleet", train_fleet, settings, workers, recipe.resources.gpus_per_vm)


def _run(
    experiment: Experiment,
    name: str,
    function: Callable[[dict[str, Any]], None],
    settings: dict[str, Any],
    workers: int,
    gpus: float,
) -> None:
    """Run a training function on Ray Train; where a worker dies, all start again and go on from their checkpoints.

    Ray Train replaces workers, but gives up where one dies at the moment when its controller asks something of it, or
    where the controller dies itself. Then another run takes over, as often as workers may be replaced.
    """
    failures = 0
    while True:
        try:
            _trainer(experiment, name, function, settings, workers, gpus).fit()
        except WorkerGroupError as error:
            raise _own_words(error) from error
        except (ControllerError, RayActorError) as error:
            failures += 1
            if not _is_of_ray(error) or failures > experiment.recipe.resources.max_failures:
                raise
        else:
            return


def _trainer(
    experiment: Experiment,
    name: str,
    function: Callable[[dict[str, Any]], None],
    settings: dict[str, Any],
    workers: int,
    gpus: float,
) -> TorchTrainer:
    resources = experiment.recipe.resources
    local = resources.mode == "local"
    scaling = ScalingConfig(
        num_workers=0 if local else workers,
        use_gpu=gpus > 0,
        resources_per_worker=None if local else {"CPU": 1, **({"GPU": gpus} if gpus else {})},
    )
    # a name of its own: our checkpoints carry the state, Ray Train must not look for one
    run_config = RunConfig(
        name=f"{name}-{uuid.uuid4().hex[:8]}",
        storage_path=str(experiment.run.logs / "train"),
        failure_config=FailureConfig(max_failures=resources.max_failures),
    )
    return TorchTrainer(function, train_loop_config=settings, scaling_config=scaling, run_config=run_config)


def _is_of_ray(error: ControllerError | RayActorError) -> bool:
    """Whether a process of the run is gone, not a mistake in the run itself."""
    return isinstance(error, RayActorError) or isinstance(error.controller_failure, RayActorError)


def _own_words(error: WorkerGroupError) -> Exception:
    """What the first worker that failed raised, where that is known: Ray Train's words begin with its workers."""
    failures = error.worker_failures
    failure = failures[min(failures)] if failures else error
    own = getattr(failure, "_base_exc", failure)
    return own if isinstance(own, Exception) else error
