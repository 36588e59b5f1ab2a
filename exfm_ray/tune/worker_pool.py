"""Where trials are trained: in this process, or in as many processes as a Ray cluster has room for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from exfm_ray.config import VariantConfig
from exfm_ray.data.experiment import Experiment
from exfm_ray.tune.trial_worker import TrialWorker

WAIT_SECONDS = 5.0
"""until a waiting driver looks at the clock again"""


class WorkerPool(Protocol):
    """Workers by number; each does one thing at a time."""

    workers: int

    def live(self, worker: int, variants: list[VariantConfig], day: int) -> None:
        """Begin to train on the day before and to evaluate on `day`."""

    def forget(self, worker: int, variants: list[VariantConfig]) -> None:
        """Delete what ended trials leave beside their results."""

    def finished(self) -> int | None:
        """A worker that has done what it was given; None where there is none after a few seconds.

        Raises:
            Exception: what the worker did.
        """


class LocalPool:
    """One worker, this process."""

    workers = 1

    def __init__(self, experiment: Experiment) -> None:
        self._worker = TrialWorker(experiment.model_dump(mode="json"))

    def live(self, worker: int, variants: list[VariantConfig], day: int) -> None:
        self._worker.live(_plain(variants), day)

    def forget(self, worker: int, variants: list[VariantConfig]) -> None:
        self._worker.forget(_plain(variants))

    def finished(self) -> int | None:
        return 0


class RayPool:
    """Ray actors. One that dies is started again and does the same again, from the last checkpoints on."""

    def __init__(self, experiment: Experiment, workers: int) -> None:
        import ray

        resources = experiment.recipe.resources
        actor = ray.remote(
            num_cpus=1,
            num_gpus=resources.gpus_per_vm,
            max_restarts=-1,
            max_task_retries=resources.max_failures,
        )(TrialWorker)
        plain = experiment.model_dump(mode="json")
        self.workers = workers
        self._actors: list[Any] = [actor.remote(plain) for _ in range(workers)]
        self._busy: dict[Any, int] = {}

    def live(self, worker: int, variants: list[VariantConfig], day: int) -> None:
        self._busy[self._actors[worker].live.remote(_plain(variants), day)] = worker

    def forget(self, worker: int, variants: list[VariantConfig]) -> None:
        self._actors[worker].forget.remote(_plain(variants))

    def finished(self) -> int | None:
        import ray

        done, _ = ray.wait(list(self._busy), num_returns=1, timeout=WAIT_SECONDS)
        if not done:
            return None
        worker = self._busy.pop(done[0])
        ray.get(done[0])
        return worker

    def close(self) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)


@contextmanager
def worker_pool(experiment: Experiment, workers: int) -> Iterator[WorkerPool]:
    """Workers for the time of a search."""
    if experiment.recipe.resources.mode == "local":
        yield LocalPool(experiment)
        return
    pool = RayPool(experiment, workers)
    try:
        yield pool
    finally:
        pool.close()


def _plain(variants: list[VariantConfig]) -> list[dict[str, Any]]:
    return [variant.model_dump(mode="json") for variant in variants]
