"""Ray for the time of one command: started on this machine or attached to, quiet, and left clean."""

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from exfm_ray.config import Recipe, ResourcesConfig
from exfm_ray.data.prepare import Made, Spread
from exfm_ray.errors import UserError, WaitError
from exfm_ray.last_words import leave_word
from exfm_ray.needs import (
    check_cpus,
    check_gpus,
    check_room,
    fleet_workers,
    fm_processes,
    most_replicas,
    needed_cpus,
    vm_processes,
)
from exfm_ray.placing import Node, check_placement, room_on
from exfm_ray.quiet import loading_beside, quieten
from exfm_ray.waits import noted_wait, within

CONNECT_SECONDS = 10
ATTACH_SECONDS = 120.0
"""for a driver to become part of a cluster whose door is open"""
TASK_SECONDS = 3_600.0
"""for a task of `spread`, which makes a part of a day or a piece of a log"""
FRAME_HEAD_BYTES, FRAME_KIND, SETTINGS = 9, 3, 4
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
"""of an HTTP/2 client, with empty settings; a server answers with its own at once (RFC 9113, 3.4)"""


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
            if self._address is None:
                cpus = max(os.cpu_count() or 1, *(needed_cpus(one, self._workers(one)) for one in self._recipes))
                with noted_wait("Ray on this machine"), loading_beside(logs):
                    _start(cpus)
            else:
                quieten(logs)
                _connect(self._address)
            for recipe in self._recipes:
                self._check(recipe)
        _quiet_ray(logs)

    def _workers(self, recipe: Recipe) -> int:
        # on this machine the trainer of the FM and its replica are rarely busy at once: the fleet may have every core
        if self._address is None:
            return fleet_workers(recipe, (os.cpu_count() or 1) + needed_cpus(recipe, 0))
        nodes = _nodes(recipe.resources)
        workers = fleet_workers(recipe, total(nodes, "CPU"))
        if recipe.resources.fleet_workers == "auto" and recipe.resources.vm_placement.is_restricted:
            room = room_on(recipe.resources.vm_placement, nodes) - recipe.team_workers
            return min(workers, max(1, room))
        return workers

    def _check(self, recipe: Recipe) -> None:
        workers = self._workers(recipe)
        if (least := recipe.resources.fleet_workers_least) is not None:
            workers = min(workers, least)  # the others may come later
        nodes = _nodes(recipe.resources)
        check_cpus(recipe, workers, total(nodes, "CPU"))
        check_gpus(recipe, workers, [node.get("GPU", 0.0) for node in nodes])
        check_placement("fm", recipe.resources.fm_placement, *fm_processes(recipe), nodes)
        check_placement("vm", recipe.resources.vm_placement, *vm_processes(recipe, workers), nodes)


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


def check_address(address: str | None) -> None:
    """Knock at the cluster's door, since Ray itself would wait there for minutes.

    Raises:
        UserError: nobody answers.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if address is None or not colon or not port.isdigit():
        return  # `auto` and the like: Ray finds out at once
    try:
        _knock(host.strip("[]"), int(port))
    except OSError as error:
        raise UserError(f"--address: nobody answers at {address!r} ({error}); give a running cluster's") from error


def _knock(host: str, port: int) -> None:
    """Exchange a greeting: a process that hangs, or is none of Ray's, takes connections all the same.

    Raises:
        OSError: nobody answers as gRPC does, in the words of HTTP/2.
    """
    with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0") == "1":
            return  # an encrypted door is Ray's to open
        connection.sendall(GREETING)
        answer = connection.recv(FRAME_HEAD_BYTES)
    if len(answer) <= FRAME_KIND or answer[FRAME_KIND] != SETTINGS:
        raise OSError("what listens there is not Ray")


def _start(cpus: int) -> None:
    """A cluster of this machine alone: bound to loopback, with token authentication, without a dashboard."""
    import ray

    leave_word(_gone("Ray on this machine", "start the same command again: it"))
    # few processes, but all of them start at once; Ray would warn about each beyond the number of cores
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "16")
    # a process for each Ray Train run that would look whether a node is about to be taken away
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    ray.init(
        "local",  # never the cluster that RAY_ADDRESS may name: that takes --address
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        _node_ip_address="127.0.0.1",
    )


def _gone(cluster: str, again: str) -> str:
    """The last words of a driver, whose cluster mostly ends before it does; it may also be killed itself."""
    return (
        f"exfm: {cluster} is gone (its head node, or its node on this machine, has ended), or this process was killed; "
        f"{again} goes on from what is committed"
    )


def _connect(address: str) -> None:
    import ray

    import exfm_ray

    leave_word(_gone(f"the cluster at {address}", "start the same command again, on this cluster or another: it"))
    package = str(Path(exfm_ray.__file__).parent)
    attach = partial(
        ray.init,
        address,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        runtime_env={"py_modules": [package]},
    )
    mend = "see whether its head node is healthy (`ray status`)"
    try:
        with noted_wait(f"the cluster at {address}"):
            within(ATTACH_SECONDS, f"the cluster at {address}", mend, attach)
    except WaitError as error:
        raise UserError(f"--address: {error}") from error
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


def start_mend() -> str:
    """What helps where the cluster does not give what a process needs to start, and what of it is free."""
    import ray

    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    whole: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    told = [f"{free.get(name, 0):g} of {whole[name]:g} {name}s" for name in ("CPU", "GPU") if whole.get(name)]
    free_words = f"free in the cluster: {' and '.join(told) or 'nothing'}"
    return f"{free_words}; add nodes, need less in `resources`, or raise resources.start_timeout_seconds"


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
        WaitError: one did not end in an hour.
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

    what, mend = "a task that prepares days", "add nodes, or end what holds the cluster's CPUs"
    try:
        return within(TASK_SECONDS, what, mend, partial(ray.get, reference))
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
