"""The stores that a latest pointer can live in, and a node of Ray."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from exfm_ray.das.pointer import LatestPointer
from exfm_ray.das.pointer_at import pointer_at
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


BACKENDS: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "embedded": lambda request: f"embedded:{request.getfixturevalue('tmp_path')}/pointer",
    "cluster": lambda request: cluster_pointer(request),
    "zookeeper": lambda request: f"zookeeper://{server_of(request).hosts}/exfm/{uuid.uuid4().hex}",
}
"""name → the address of a fresh record"""


def cluster_pointer(request: pytest.FixtureRequest) -> str:
    """Processes that a test starts find the node by Ray's variable."""
    import ray

    request.getfixturevalue("ray_node")
    patch = request.getfixturevalue("monkeypatch")
    patch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    return f"cluster:/test/{uuid.uuid4().hex}"


def server_of(request: pytest.FixtureRequest) -> ZooKeeperServer:
    server = request.getfixturevalue("zookeeper")
    assert isinstance(server, ZooKeeperServer)
    return server


@pytest.fixture(params=BACKENDS)
def address(request: pytest.FixtureRequest) -> str:
    return BACKENDS[request.param](request)


@pytest.fixture
def pointer(address: str) -> Iterator[LatestPointer]:
    with closing(pointer_at(address)) as opened:
        yield opened


@pytest.fixture(scope="package")
def ray_node() -> Iterator[None]:
    """One node of Ray for all tests of the service that need real processes; each deploys an application of its own."""
    import ray
    from ray import serve

    from exfm_ray.cluster import _start

    _start(8)
    yield
    serve.shutdown()  # or handles would go on pushing their metrics from threads of this process
    ray.shutdown()
