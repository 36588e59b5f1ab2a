"""Three nodes of Ray on this machine, and what runs on them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
from ray._private.node import Node
from ray.cluster_utils import Cluster

from tests.chaos.processes import family

HEAD_CPUS, OTHER_CPUS = 1, 4
"""so that a whole run has room while one of the others is dead, but not on the head alone"""


class Nodes:
    """A cluster whose first node, the head, outlives the others."""

    def __init__(self, count: int) -> None:
        self._cluster = Cluster()
        for _ in range(count):
            self.add()

    @property
    def address(self) -> str:
        address = self._cluster.address
        assert isinstance(address, str)
        return address

    def add(self) -> None:
        """One more node; returns once the cluster knows it."""
        cpus = OTHER_CPUS if self._cluster.head_node else HEAD_CPUS
        self._cluster.add_node(num_cpus=cpus, include_dashboard=False)

    @property
    def others(self) -> list[Node]:
        """All but the head, those that were there first in front."""
        return sorted(self._cluster.worker_nodes, key=_raylet)

    def kill(self, node: Node) -> None:
        """`kill -9` all that runs on a node."""
        started = family(_raylet(node))
        self._cluster.remove_node(node, allow_graceful=False)
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def processes(self) -> list[psutil.Process]:
        """Of the workers of all nodes."""
        return [process for node in self._cluster.list_all_nodes() for process in family(_raylet(node))]

    def close(self) -> None:
        for node in self.others:
            self.kill(node)
        self.kill(self._cluster.head_node)


def _raylet(node: Node) -> int:
    (raylet,) = node.all_processes["raylet"]
    pid = raylet.process.pid
    assert isinstance(pid, int)
    return pid


@contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    opened = Nodes(count)
    try:
        yield opened
    finally:
        opened.close()
