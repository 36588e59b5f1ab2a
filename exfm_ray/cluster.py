"""Ray for the time of one command: started on this machine or attached to, quiet, and left clean."""

import logging
import math
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from exfm_ray.config import Recipe, ResourcesConfig
from exfm_ray.data.prepare import Made, Spread
from exfm_ray.errors import UserError
from exfm_ray.placing import Node, check_placement, room_on
from exfm_ray.quiet import quieten

CONNECT_SECONDS = 10


def fleet_workers(recipe: Recipe, cpus: float) -> int:
    """How many workers share the variants of the VMs: as the recipe says, or as many as CPUs are left for.

    With GPUs no more than there are VMs: a core trains one variant at a time, but a GPU has room for many.
    """
    wanted = recipe.resources.fleet_workers
    if wanted != "auto":
        return min(wanted, len(recipe.variants()))
    left = int(cpus) - 1 - most_replicas(recipe)
    pieces = len(recipe.vms if recipe.resources.gpus_per_vm else recipe.variants())
    return max(1, min(pieces, left))


def machine_memory() -> int:
    """Bytes of this machine's main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def most_replicas(recipe: Recipe) -> int:
    """Of the FM, when the load is high."""
    return recipe.resources.fm_replicas_most or recipe.resources.fm_replicas


def needed_cpus(recipe: Recipe, workers: int) -> int:
    """CPUs that must be there at once: the FM's trainer, its most replicas, the fleet, and tasks that stream days."""
    from exfm_ray.das.augmentation import CPUS_PER_TASK

    resources = recipe.resources
    return 1 + most_replicas(recipe) + workers + math.ceil(CPUS_PER_TASK * resources.augment_tasks)


def check_gpus(recipe: Recipe, workers: int, nodes: Sequence[float]) -> None:
    """Compare what the recipe's processes need at once with the cluster; Ray would wait for it for ever.

    Args:
        workers: of the fleet.
        nodes: GPUs of each.

    Raises:
        UserError: no such cluster can give them.
    """
    resources = recipe.resources
    replicas = most_replicas(recipe)
    for field, each, processes, who in (
        ("gpus_per_fm", resources.gpus_per_fm, 1 + replicas, f"the FM's trainer and replicas (1 + {replicas})"),
        ("gpus_per_vm", resources.gpus_per_vm, workers, f"the fleet's workers ({workers})"),
    ):
        if each and (places := gpu_places(nodes, each)) < processes:
            raise UserError(
                f"resources.{field}: {who} need {each:g} GPUs each, and the cluster's {sum(nodes):g} GPUs have "
                f"room for {places}; lower it (0: none), have fewer of them, or add GPUs"
            )
    needed = (1 + replicas) * resources.gpus_per_fm + workers * resources.gpus_per_vm
    if needed > sum(nodes) + 1e-6:
        raise UserError(
            f"resources: the recipe needs {needed:g} GPUs at once but the cluster has {sum(nodes):g}; lower "
            "gpus_per_fm, gpus_per_vm, fm_replicas, fm_replicas_most or fleet_workers, or add GPUs"
        )


def gpu_places(nodes: Sequence[float], each: float) -> int:
    """How many processes that need so much of a GPU, or so many whole ones, fit on nodes with so many GPUs."""
    if each < 1:
        return int(sum(nodes)) * math.floor(1 / each + 1e-6)
    return sum(int(gpus // each) for gpus in nodes)


class SharedCluster:
    """Ray for simulations one after the other: it starts when one first asks for it, for starting takes seconds.

    On this machine alone Ray is told of more CPUs than there are where the parts need them: they share the real ones.

    Args:
        recipes: all that may ask.
        address: of a Ray cluster; None starts one on this machine.
    """

    def __init__(self, recipes: Sequence[Recipe], address: str | None) -> None:
        self._recipes, self._address = recipes, address
        self._is_open = False

    @property
    def outlives_command(self) -> bool:
        """Whether it was there before, and will be there after."""
        return self._address is not None

    def fleet_workers(self, recipe: Recipe, logs: Path) -> int:
        """How many workers share the VMs of one of the recipes; Ray's words go to its logs from now on.

        Raises:
            UserError: the cluster cannot be reached, or can never give what one of the recipes needs.
        """
        self._open(logs)
        return self._workers(recipe)

    def spread(self, logs: Path) -> Spread:
        """How to map work over every core.

        Raises:
            UserError: as `fleet_workers`.
        """
        self._open(logs)
        return spread

    def close(self) -> None:
        if self._is_open:
            import ray

            with suppress(Exception):
                ray.shutdown()

    def _open(self, logs: Path) -> None:
        if not self._is_open:
            self._is_open = True  # also where it fails half-way
            quieten(logs)
            if self._address is None:
                _start(max(os.cpu_count() or 1, *(needed_cpus(one, self._workers(one)) for one in self._recipes)))
            else:
                _connect(self._address)
            for recipe in self._recipes:
                self._check(recipe)
        _quiet_ray(logs)

    def _workers(self, recipe: Recipe) -> int:
        # on this machine the trainer of the FM and its replica are rarely busy at once: the fleet may have every core
        alone = self._address is None
        if alone:
            return fleet_workers(recipe, (os.cpu_count() or 1) + 1 + most_replicas(recipe))
        nodes = _nodes(recipe.resources)
        workers = fleet_workers(recipe, total(nodes, "CPU"))
        if recipe.resources.fleet_workers == "auto" and recipe.resources.vm_placement.is_restricted:
            return max(1, min(workers, room_on(recipe.resources.vm_placement, nodes)))
        return workers

    def _check(self, recipe: Recipe) -> None:
        workers = self._workers(recipe)
        nodes = _nodes(recipe.resources)
        needed, available = needed_cpus(recipe, workers), total(nodes, "CPU")
        if needed > available:
            raise UserError(
                f"resources: the recipe needs {needed} CPUs at once but the cluster at {self._address!r} has "
                f"{available:.0f}; lower fm_replicas, fm_replicas_most, fleet_workers or augment_tasks, or add nodes"
            )
        check_gpus(recipe, workers, [node.get("GPU", 0.0) for node in nodes])
        replicas = most_replicas(recipe)
        trainer = f"the FM's trainer and replicas (1 + {replicas})"
        check_placement("fm", recipe.resources.fm_placement, 1 + replicas, trainer, nodes)
        check_placement("vm", recipe.resources.vm_placement, workers, f"the fleet's workers ({workers})", nodes)


@contextmanager
def shared_cluster(recipes: Sequence[Recipe], address: str | None) -> Iterator[SharedCluster]:
    """Yields Ray for simulations one after the other, and shuts it down, if it was started, whatever happens."""
    with closing(SharedCluster(recipes, address)) as cluster:
        yield cluster


@contextmanager
def ray_cluster(recipe: Recipe, address: str | None, logs: Path) -> Iterator[int]:
    """Ray for one recipe, started at once; yields the number of fleet workers.

    Raises:
        UserError: as `SharedCluster.fleet_workers`.
    """
    with shared_cluster((recipe,), address) as cluster:
        yield cluster.fleet_workers(recipe, logs)


@contextmanager
def task_cluster(address: str | None, logs: Path) -> Iterator[Spread]:
    """Yields how to map work over every core of this machine or of a cluster.

    Raises:
        UserError: the cluster at `address` cannot be reached.
    """
    quieten(logs)
    with _ray_shut_down_after():
        if address is None:
            _start(os.cpu_count() or 1)
        else:
            check_address(address)
            _connect(address)
        _quiet_ray(logs)
        yield spread


@contextmanager
def serving_cluster(recipe: Recipe, address: str | None, logs: Path) -> Iterator[None]:
    """Ray for the FM's replicas alone.

    Raises:
        UserError: the cluster at `address` cannot be reached, or the cluster can never give what the replicas need.
    """
    with _ray_shut_down_after():
        if address is None:
            _start(max(os.cpu_count() or 1, most_replicas(recipe)))
        else:
            _connect(address)
        nodes = _nodes(recipe.resources)
        check_room(recipe.resources, total(nodes, "CPU"), [node.get("GPU", 0.0) for node in nodes])
        replicas = recipe.resources.fm_replicas
        check_placement("fm", recipe.resources.fm_placement, replicas, f"the FM's replicas ({replicas})", nodes)
        _quiet_ray(logs)
        yield


@contextmanager
def _ray_shut_down_after() -> Iterator[None]:
    """Whatever happens in the block."""
    import ray

    try:
        yield
    finally:
        with suppress(Exception):
            ray.shutdown()


def check_room(resources: ResourcesConfig, cpus: float, nodes: Sequence[float]) -> None:
    """Compare what the FM's replicas need at once with the cluster; Serve would wait for it for ever.

    Args:
        cpus: of all nodes together.
        nodes: GPUs of each.

    Raises:
        UserError: they are too few.
    """
    replicas, each = resources.fm_replicas, resources.gpus_per_fm
    mend = "add nodes, or lower fm_replicas or gpus_per_fm in the run's recipe.yaml"
    if replicas > cpus:
        raise UserError(f"resources: {replicas} replicas of the FM need a CPU each and there are {cpus:g}; {mend}")
    if each and (places := gpu_places(nodes, each)) < replicas:
        raise UserError(
            f"resources: {replicas} replicas of the FM need {each:g} GPUs each and there is room for {places}; {mend}"
        )


def check_address(address: str | None) -> None:
    """Knock at the cluster's door, since Ray itself would wait there for minutes.

    Raises:
        UserError: nobody answers.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if address is None or not colon or not port.isdigit():
        return  # `auto` and the like: Ray finds out at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(f"--address: nobody answers at {address!r} ({error}); give a running cluster's") from error


def _start(cpus: int) -> None:
    """A cluster of this machine alone: bound to loopback, with token authentication, without a dashboard."""
    import ray

    # few processes, but all of them start at once; Ray would warn about each beyond the number of cores
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "16")
    ray.init(
        "local",  # never the cluster that RAY_ADDRESS may name: that takes --address
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        _node_ip_address="127.0.0.1",
    )


def _connect(address: str) -> None:
    import ray

    import exfm_ray

    package = str(Path(exfm_ray.__file__).parent)
    try:
        ray.init(
            address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            runtime_env={"py_modules": [package]},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"--address: cannot attach to {address!r} ({reason}); give a running cluster's, and where it asks for a "
            "token set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from error


def _cluster_cpus() -> float:
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("CPU", 0.0)


def _nodes(resources: ResourcesConfig) -> list[Node]:
    """Resources of each node that is there, and of each that the recipe says may come."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    there: list[Node] = [node["Resources"] for node in nodes if node["Alive"]]
    return there + [kind.resources() for kind in resources.coming_nodes for _ in range(kind.most)]


def total(nodes: Sequence[Node], resource: str) -> float:
    """Of all nodes together."""
    return sum(node.get(resource, 0.0) for node in nodes)


def spread(function: Callable[[int], Made], arguments: Sequence[int], /) -> Iterable[Made]:
    """`map` over Ray tasks, results in order; a few more tasks than there are CPUs are under way at once.

    Raises:
        UserError: a task did, in the words that it was raised with.
    """
    import ray

    task: Any = ray.remote(num_cpus=1, max_retries=3)(lambda argument: function(argument))
    window = 2 * max(int(_cluster_cpus()), 1)
    waiting: deque[Any] = deque()
    for argument in arguments:
        waiting.append(task.remote(argument))
        if len(waiting) >= window:
            yield _result(waiting.popleft())
    while waiting:
        yield _result(waiting.popleft())


def _result(reference: Any) -> Any:
    """What a task returned. A user's mistake is told as the task told it, in one line, without Ray's account of it."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise


def _quiet_ray(logs: Path) -> None:
    """The loggers, set up anew by ray.init, what Ray prints past them, and Ray Data's bars; rows keep their order."""
    from ray._private import worker
    from ray.data import DataContext

    quieten(logs)
    context = DataContext.get_current()
    worker._worker_logs_enabled = False  # there is no public switch for the raylet's messages; its own logs keep them
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
