"""Whether a run directory that looks local is the same one on every node of a cluster."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import UserError

LOOK_SECONDS = 60.0
"""for the nodes to start a process that looks; one that has not by then, or is gone, is left out"""


def check_shared(run: RunDirectory) -> None:
    """Let every node of the cluster that this process is attached to look for the run's recipe, and for prepared days.

    Raises:
        UserError: a node sees other files, or none.
    """
    import ray
    from ray.exceptions import NodeDiedError, TaskUnschedulableError, WorkerCrashedError

    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    prepared = run.days / "schema.json"
    seen = [run.recipe_file] + ([prepared] if run.resolved()["prepared"] else [])
    local = {place.uri: _digest(Path(place.uri)) for place in seen if place.is_local}
    if len(nodes) < 2 or not local:
        return
    looks = [_look(node["NodeID"], list(local)) for node in nodes]
    done, _ = ray.wait(looks, num_returns=len(looks), timeout=LOOK_SECONDS)
    for node, look in zip(nodes, looks, strict=True):
        with suppress(NodeDiedError, TaskUnschedulableError, WorkerCrashedError):
            if look in done:
                found: dict[str, str | None] = ray.get(look)
                _compare(local, found, node["NodeManagerHostname"])


def _look(node: str, files: list[str]) -> Any:
    """Begin to look at files on a node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task: Any = ray.remote(num_cpus=0, max_retries=0)(lambda paths: {path: _digest(Path(path)) for path in paths})
    return task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(files)


def _digest(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _compare(here: dict[str, str | None], there: dict[str, str | None], host: str) -> None:
    for path, digest in here.items():
        if there[path] != digest:
            raise UserError(
                f"--out: {Location(path)} is not seen by the node {host} of the cluster; name storage that all nodes "
                "share, a mount or a URI such as s3://bucket/run"
            )
