"""Ray Train runs: one for the FM's stream, one for the fleet of VMs, and one for each VM that has several workers."""

import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray.train
from ray.exceptions import RayActorError
from ray.train import (
    ControllerError,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    WorkerGroupError,
)
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.constants import HEALTH_CHECK_INTERVAL_S_ENV_VAR as LOOK_VARIABLE
from ray.train.v2._internal.constants import WORKER_GROUP_START_TIMEOUT_S_ENV_VAR as START_TIMEOUT_VARIABLE
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from exfm_ray.cluster import start_mend
from exfm_ray.config import VariantConfig, VerticalModelConfig
from exfm_ray.config.placement import Placement
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_clock import Starting, note_start
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import WaitError
from exfm_ray.train.fleet import train_fleet
from exfm_ray.train.foundation import train_foundation_stream
from exfm_ray.train.team_run import train_as_team
from exfm_ray.train.variants import grouped
from exfm_ray.waits import in_vain, noted_wait, within

Trainer = DataParallelTrainer | TorchTrainer

LOOK_SECONDS = 1.0
RESIZE_SECONDS = 20.0
"""after which workers that may be more are looked for room again: all of them start anew where there is some"""
CONTROLLER_LOOK_SECONDS = 0.25
"""after which Ray Train's controller sees that its workers have ended or failed; its default is 2"""


def train_foundation_model(experiment: Experiment) -> None:
    """Train the FM through its last day; snapshots appear on the way."""
    recipe = experiment.recipe
    _run(
        TrainRun(
            experiment,
            starting="fm",
            who="the FM",
            placement=recipe.resources.fm_placement,
            function=train_foundation_stream,
            settings={"experiment": experiment.model_dump(mode="json")},
            workers=recipe.fm.workers,
            is_team=recipe.fm.workers > 1,
        )
    )


def train_vertical_models(
    experiment: Experiment, workers: int, variants: Sequence[VariantConfig] | None = None
) -> None:
    """Train and evaluate variants over all their days, shared by `workers` processes, each variant by one at a time.

    Args:
        workers: at least one.
        variants: as `train_variants` takes them; left out: the recipe's that have one worker.
    """
    recipe = experiment.recipe
    least = recipe.resources.fleet_workers_least
    _run(
        TrainRun(
            experiment,
            starting="fleet",
            who="the VMs",
            placement=recipe.resources.vm_placement,
            function=train_fleet,
            settings=_settings(experiment, recipe.fleet_variants() if variants is None else variants, workers),
            workers=workers if least is None or least >= workers else (least, workers),
            is_team=False,
        )
    )


def train_with_several_workers(experiment: Experiment, vm: VerticalModelConfig) -> None:
    """Train and evaluate a VM's variants over all their days, each by all of the VM's workers together."""
    recipe = experiment.recipe
    variants = [variant for variant in recipe.variants() if variant.vm.name == vm.name]
    _run(
        TrainRun(
            experiment,
            starting="fleet",
            who=f"the VM {vm.name}",
            placement=recipe.resources.vm_placement,
            function=train_as_team,
            settings=_settings(experiment, variants, 1),
            workers=vm.workers,
            is_team=True,
        )
    )


def _settings(experiment: Experiment, variants: Sequence[VariantConfig], workers: int) -> dict[str, Any]:
    return {
        "experiment": experiment.model_dump(mode="json"),
        "groups": [
            [variant.model_dump(mode="json") for variant in group] for group in grouped(experiment, variants, workers)
        ],
    }


@dataclass(frozen=True)
class TrainRun:
    """A Ray Train run that is wanted."""

    experiment: Experiment
    starting: Starting
    who: str
    """is trained, in words"""
    placement: Placement
    """of each worker"""
    function: Callable[[dict[str, Any]], None]
    """that each worker calls"""
    settings: dict[str, Any]
    """that it is called with"""
    workers: int | tuple[int, int]
    """how many, or the fewest and the most that will do"""
    is_team: bool
    """whether they train one model together, and exchange gradients"""


def _run(wanted: TrainRun) -> None:
    """Run a training function on Ray Train; where a worker dies, all start again and go on from their checkpoints.

    Ray Train replaces workers, but gives up where one dies at the moment when its controller asks something of it, or
    where the controller dies itself. Then another run takes over, as often as workers may be replaced.

    Raises:
        WaitError: the cluster did not give what the workers need, or one of them waited in vain.
    """
    failures = 0
    while True:
        try:
            _run_once(wanted)
        except WorkerGroupError as error:
            raise _own_words(error) from error
        except (ControllerError, RayActorError) as error:
            failures += 1
            if not _is_of_ray(error) or failures > wanted.experiment.recipe.resources.max_failures:
                raise
        else:
            return


def _run_once(wanted: TrainRun) -> None:
    experiment, placement = wanted.experiment, wanted.placement
    resources = experiment.recipe.resources
    local = resources.mode == "local"
    scaling = ScalingConfig(
        num_workers=0 if local else wanted.workers,  # type: ignore[arg-type]  # a pair is allowed
        use_gpu=placement.gpus > 0,
        resources_per_worker=None if local else placement.resources,
        accelerator_type=None if local else placement.accelerator,
        elastic_resize_monitor_interval_s=RESIZE_SECONDS,  # type: ignore[call-arg]  # of Train v2, the default
    )
    # a name of its own: our checkpoints carry the state, Ray Train must not look for one
    own_name = f"{wanted.starting}-{uuid.uuid4().hex[:8]}"
    run_config = RunConfig(
        name=own_name,
        storage_path=str(experiment.run.logs / "train"),
        failure_config=FailureConfig(
            max_failures=resources.max_failures,
            controller_failure_limit=resources.max_failures,  # type: ignore[call-arg]  # of Train v2, the default
        ),
    )
    function = partial(_started, wanted.function, experiment, wanted.starting, own_name, time.time(), not local)
    configs = {"train_loop_config": wanted.settings, "scaling_config": scaling, "run_config": run_config}
    trainer = _trainer(wanted, function, **configs)
    if local:
        trainer.fit()
    else:
        _fit(trainer, experiment, own_name, worker_words(wanted.who, wanted.workers, placement.gpus))


def _trainer(wanted: TrainRun, function: Callable[[dict[str, Any]], None], **configs: Any) -> Trainer:
    """A TorchTrainer for a team alone: it has its controller import torch, and joins workers into a process group."""
    if not wanted.is_team:
        return DataParallelTrainer(function, **configs)
    return TorchTrainer(function, torch_config=TorchConfig(backend=exchange_backend(wanted.placement)), **configs)


def exchange_backend(placement: Placement) -> str:
    """By what workers exchange gradients: NCCL allows each GPU one worker only."""
    return "nccl" if placement.gpus >= 1 else "gloo"


def worker_words(who: str, workers: int | tuple[int, int], gpus: float) -> str:
    """What a Ray Train run needs at least, such as "2 workers for the VMs (1 CPU and 0.5 GPUs each)"."""
    least = workers if isinstance(workers, int) else workers[0]
    count = f"{least} workers" if least > 1 else "a worker"
    share = f" and {gpus:g} GPU{'' if gpus == 1 else 's'}" if gpus else ""
    return f"{count} for {who} (1 CPU{share}{' each' if least > 1 else ''})"


def _fit(trainer: Trainer, experiment: Experiment, name: str, needs: str) -> None:
    """Run a trainer, and tell for what it waits until its workers are there.

    Ray Train itself asks for them for ever, in tries of a minute each.
    """
    resources, has_started = experiment.recipe.resources, HasStarted(experiment.run, name)
    timeout = resources.start_timeout_seconds
    os.environ.setdefault(LOOK_VARIABLE, str(CONTROLLER_LOOK_SECONDS))
    os.environ[START_TIMEOUT_VARIABLE] = str(timeout / (resources.max_failures + 1))
    try:
        with noted_wait(needs, has_started):
            within(timeout, needs, start_mend, trainer.fit, has_started)
    except TrainingFailedError as error:
        if (reason := _waited_in_vain(experiment.run, name)).is_file():
            raise WaitError(reason.read().decode()) from error
        cause = error.controller_failure if isinstance(error, ControllerError) else None
        if isinstance(cause, WorkerGroupStartupTimeoutError):
            raise in_vain(timeout, needs, start_mend()) from error
        raise


class HasStarted:
    """Whether a worker of a Ray Train run has noted that it is ready; once it is so, it remains so.

    It is asked at every look of a display, and looks for notes itself once a second at most.
    """

    def __init__(self, run: RunDirectory, name: str) -> None:
        self._starts, self._name = run.starts, name
        self._is_so, self._looked = False, float("-inf")

    def __call__(self) -> bool:
        if not self._is_so and time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            with suppress(OSError):  # storage may be back at the next look
                self._is_so = any(note.name.startswith(self._name) for note in self._starts.children())
        return self._is_so


def _waited_in_vain(run: RunDirectory, name: str) -> Location:
    """Where a worker of a Ray Train run says so."""
    return run.logs / "train" / name / "waited.txt"


def _started(
    function: Callable[[dict[str, Any]], None],
    experiment: Experiment,
    what: Starting,
    name: str,
    asked: float,
    is_alone: bool,
    settings: dict[str, Any],
) -> None:
    """The training function, after a note that its process is ready.

    Args:
        name: of the Ray Train run.
        asked: when the Ray Train run was, seconds since the Unix epoch.
        is_alone: whether the process was started for nothing else, so that all its CPU seconds are those of its start.
    """
    told = _waited_in_vain(experiment.run, name)
    if told.is_file():  # Ray Train starts again whatever has failed, but this would only take as long again
        raise WaitError(told.read().decode())
    slot = f"{name}-{ray.train.get_context().get_world_rank()}"
    note_start(experiment.run, what, slot, Stopwatch(asked, cpu_clock=time.process_time if is_alone else None))
    try:
        function(settings)
    except WaitError as error:
        told.write(str(error).encode())
        raise


def _is_of_ray(error: ControllerError | RayActorError) -> bool:
    """Whether a process of the run is gone, not a mistake in the run itself."""
    return isinstance(error, RayActorError) or isinstance(error.controller_failure, RayActorError)


def _own_words(error: WorkerGroupError) -> Exception:
    """What the first worker that failed raised, where that is known: Ray Train's words begin with its workers."""
    failures = error.worker_failures
    failure = failures[min(failures)] if failures else error
    own = getattr(failure, "_base_exc", failure)
    return own if isinstance(own, Exception) else error
