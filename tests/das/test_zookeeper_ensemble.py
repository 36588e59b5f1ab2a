"""The latest pointer in an ensemble of three servers, whose leader dies."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from exfm_ray.das.pointer import point_to
from exfm_ray.das.pointer_at import pointer_at
from tests.das.zookeeper_server import ZooKeeperServer, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def ensemble(tmp_path: Path) -> Iterator[list[ZooKeeperServer]]:
    members = {number: f"127.0.0.1:{free_port()}:{free_port()}" for number in (1, 2, 3)}
    with ExitStack() as stack:
        servers = [ZooKeeperServer(tmp_path / f"server-{number}", number, members) for number in members]
        for server in servers:
            stack.callback(server.kill)
            server.launch()
        for server in servers:
            server.wait()
        yield servers


def test_the_record_outlives_each_leader(ensemble: list[ZooKeeperServer]) -> None:
    address = f"zookeeper://{','.join(server.hosts for server in ensemble)}/exfm/pointer"
    with closing(pointer_at(address)) as one, closing(pointer_at(address)) as other:
        version = 0
        for _ in range(3):
            for writer, reader in ((one, other), (other, one)) * 20:
                version += 1
                assert point_to(writer, version, now=0.0, lease_seconds=60).version == version
                held = reader.read()
                assert held is not None
                assert held.version == version
            (leader,) = [server for server in ensemble if server.leads()]
            leader.kill()
            for reader in (one, other):
                held = reader.read()
                assert held is not None
                assert held.version == version
            leader.start()
