"""Three nodes of Ray on this machine, and what runs on them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
from ray._private.node import Node
from ray.cluster_utils import Cluster

CPUS_PER_NODE = 4
"""so that two nodes have room for a whole run while a third one is dead"""


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
        self._cluster.add_node(num_cpus=CPUS_PER_NODE, include_dashboard=False)

    @property
    def others(self) -> list[Node]:
        """All but the head, those that were there first in front."""
        return sorted(self._cluster.worker_nodes, key=_raylet)

    def kill(self, node: Node) -> None:
        """`kill -9` all that runs on a node."""
        family = _family(node)
        self._cluster.remove_node(node, allow_graceful=False)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def processes(self) -> list[psutil.Process]:
        """Of the workers of all nodes."""
        return [process for node in self._cluster.list_all_nodes() for process in _family(node)]

    def close(self) -> None:
        for node in self.others:
            self.kill(node)
        self.kill(self._cluster.head_node)


def _raylet(node: Node) -> int:
    (raylet,) = node.all_processes["raylet"]
    pid = raylet.process.pid
    assert isinstance(pid, int)
    return pid


def _family(node: Node) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(_raylet(node)).children(recursive=True)
    return []


@contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    opened = Nodes(count)
    try:
        yield opened
    finally:
        opened.close()
