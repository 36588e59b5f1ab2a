"""The stores that a latest pointer can live in, and a node of Ray."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.das.zookeeper_server import ZooKeeperServer


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    """One server for all tests that leave it alone."""
    server = ZooKeeperServer(tmp_path_factory.mktemp("zookeeper") / "server")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_zookeeper(tmp_path: Path) -> Iterator[ZooKeeperServer]:
    """A server that the test may kill."""
    server = ZooKeeperServer(tmp_path / "server")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="package")
def ray_node() -> Iterator[None]:
    """One node of Ray for all tests of the service that need real processes; each deploys an application of its own."""
    import ray

    from exfm_ray.cluster import _start

    _start(8)
    yield
    ray.shutdown()
