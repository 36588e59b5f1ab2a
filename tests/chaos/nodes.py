"""Nodes of Ray on this machine, and what runs on them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType

import psutil
from ray._private.node import Node
from ray.cluster_utils import Cluster

from tests.chaos.processes import family
from tests.das.zookeeper_server import free_port

HEAD_CPUS, OTHER_CPUS = 1, 4
"""so that a whole run has room while one of the others is dead, but not on the head alone"""


class Nodes:
    """A cluster whose first node is the head."""

    def __init__(self, count: int) -> None:
        self._cluster = Cluster()
        self._gcs_port = free_port()  # where it is found again when it was started anew
        for _ in range(count):
            self.add()

    @property
    def address(self) -> str:
        address = self._cluster.address
        assert isinstance(address, str)
        return address

    def add(self, cpus: int = OTHER_CPUS, resources: Mapping[str, float] = MappingProxyType({})) -> None:
        """One more node; returns once the cluster knows it.

        Args:
            cpus: of a node that is not the head.
            resources: custom ones.
        """
        if self._cluster.head_node is None:
            self._cluster.add_node(num_cpus=HEAD_CPUS, include_dashboard=False, gcs_server_port=self._gcs_port)
        else:
            self._cluster.add_node(num_cpus=cpus, resources=dict(resources), include_dashboard=False)

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

    def kill_head(self) -> None:
        self.kill(self._cluster.head_node)

    def kill_gcs(self) -> None:
        """The head's memory of the cluster alone; all other processes stay."""
        self._cluster.head_node.kill_gcs_server()

    def start_gcs(self) -> None:
        """Once it was killed."""
        self._cluster.head_node.start_gcs_server()

    def processes(self) -> list[psutil.Process]:
        """Of the workers of all nodes."""
        return [process for node in self._cluster.list_all_nodes() for process in self.processes_of(node)]

    def processes_of(self, node: Node) -> list[psutil.Process]:
        """Of the workers of one."""
        return family(_raylet(node))

    def close(self) -> None:
        for node in self.others:
            self.kill(node)
        if self._cluster.head_node is not None:
            self.kill_head()


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
