"""`exfm serve`: a run's FM for clients outside of Ray, until it is told to stop."""

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from exfm_ray.cluster import check_address, serving_cluster
from exfm_ray.config import DasConfig
from exfm_ray.das.bearer_token import OPEN_PATH, token_digest
from exfm_ray.das.collection import collect
from exfm_ray.das.door_address import ANY_ADDRESS, base_url, check_host, free_port
from exfm_ray.das.live_serving import Entrance, live_serving
from exfm_ray.das.pointer import LatestPointer
from exfm_ray.das.pointer_at import pointer_at
from exfm_ray.das.proxy_limit import proxy_environment
from exfm_ray.das.request_limits import RequestLimits
from exfm_ray.data.commit import require
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.run_directory import RunDirectory, snapshot_identity
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.errors import DataError, UserError
from exfm_ray.existing_run import experiment_of
from exfm_ray.quiet import quieten
from exfm_ray.simulation import is_finished

DOOR_SECONDS = 30.0
"""the door is open once its application runs; more is not waited for"""


def serve_run(
    run: RunDirectory,
    host: str,
    port: str,
    token: str | None,
    limits: RequestLimits,
    address: str | None,
    collects: bool,
    tell: Callable[[str], None],
) -> None:
    """Answer until SIGINT or SIGTERM.

    Args:
        port: to listen on; 0 for a free one.
        token: that clients must show; None lets everyone on this machine in.
        address: of a Ray cluster; None starts one on this machine.
        collects: whether snapshots older than the one that answers are deleted once their lease has ended.
        tell: says a line to the user.

    Raises:
        UserError: there is no such run, it has no snapshot yet or still needs the old ones, or the door cannot be
            opened there.
    """
    experiment = experiment_of(run)
    if collects and not is_finished(experiment):
        raise UserError(
            f"--collect: {run.root} is not finished, and goes on with its old snapshots; let `exfm run` finish it, or "
            "serve it without --collect"
        )
    if collects and experiment.stored is not None:
        raise UserError(
            f"--collect: the snapshots of {run.root} lie in the store {experiment.stored.store}, where other runs may "
            "need them; serve without --collect, and let `exfm store collect` clean the store"
        )
    snapshots = SnapshotDatabase(experiment.snapshots)
    facts = newest_facts(experiment)
    check_host(host, has_token=token is not None)
    entrance = Entrance(host, free_port(host, port), limits, token_digest(token) if token else None)
    check_address(address)
    logs = run.local_directory() / "logs"
    quieten(logs)
    os.environ.update(proxy_environment(limits))
    das, live = experiment.recipe.das, live_pointer(experiment)
    with (
        closing(pointer_at(live)) as pointer,
        serving_cluster(experiment.recipe, address, logs),
        live_serving(experiment, live, facts, entrance) as model,
        _told_to_stop() as stop,
    ):
        url = base_url(entrance.host, entrance.port)
        _check_door(url)
        snapshot = _first_answer(model, das.swap_timeout_seconds, stop)
        everywhere = " and this machine's other addresses" if host in ANY_ADDRESS else ""
        tell(f"{snapshot} of {run.root} answers at {url}{everywhere} (what it takes: {url}/docs); Ctrl-C ends it")
        if collects:
            keep_collecting(snapshots, pointer, das, stop, tell)
        stop.wait()


def keep_collecting(
    snapshots: SnapshotDatabase,
    pointer: LatestPointer,
    das: DasConfig,
    stop: threading.Event,
    tell: Callable[[str], None],
) -> None:
    """Delete snapshots that nobody needs any more until the event is set; trouble is told once, and tried again."""
    told = None
    while not stop.wait(min(das.poll_seconds, das.lease_seconds / 4)):
        try:
            for day in collect(snapshots, pointer, time.time()):
                tell(f"collected {snapshot_identity(snapshots.root, day)}")
            trouble = None
        except Exception as error:  # of any kind: storage or pointer may be back a moment later
            trouble = f"old snapshots cannot be collected: {type(error).__name__}: {error}"
        if trouble is not None and trouble != told:
            tell(trouble)
        told = trouble


def live_pointer(experiment: Experiment) -> str:
    """Address of a pointer beside the run's own, which a simulation keeps on the day that it supervises."""
    return f"{experiment.pointer}-live"


def newest_facts(experiment: Experiment) -> SnapshotFacts:
    """Of the FM's newest snapshot.

    Raises:
        UserError: there is none yet.
    """
    snapshots = SnapshotDatabase(experiment.snapshots)
    days = snapshots.days()
    if not days:
        raise UserError(
            f"RUN: {experiment.root} has published no snapshot of its FM yet; let `exfm run` train it for a day"
        )
    return SnapshotFacts.model_validate(require(snapshots.directory(days[-1])).about)


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set for the time of the block."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_door(url: str) -> None:
    """Raises UserError: Serve ran on the cluster before, with another port, on another machine, or without HTTP."""
    deadline = time.monotonic() + DOOR_SECONDS
    while not _is_open(url):
        if time.monotonic() > deadline:
            raise UserError(
                f"--address: the cluster does not answer at {url}: Serve ran there before with other HTTP options, or "
                "its head node is another machine; run the command on the head node, once `serve shutdown` ended Serve"
            )
        time.sleep(0.2)


def _is_open(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}{OPEN_PATH}", timeout=DOOR_SECONDS) as answer:
            return bool(json.load(answer) == {"status": "ok"})
    except (OSError, ValueError):
        return False


def _first_answer(model: Any, timeout_seconds: float, stop: threading.Event) -> str:
    """The identity of the snapshot that answers, once one is loaded."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return str(model.describe.remote().result()["snapshot"])
        except DataError:
            if stop.is_set():
                raise KeyboardInterrupt from None
            if time.monotonic() > deadline:
                raise
