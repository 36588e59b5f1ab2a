"""What only a pointer behind a network can get wrong: killed servers, ended sessions, answers that never arrive."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss

from exfm_ray.das.pointer import RECORD_BYTES, PointerUnavailableError, extend_lease, point_to
from exfm_ray.das.pointer_at import pointer_at
from exfm_ray.das.zookeeper_pointer import WRITERS_KEPT, ZooKeeperPointer
from exfm_ray.errors import DataError
from tests.das.zookeeper_server import ZooKeeperServer, free_port

Opener = Callable[..., ZooKeeperPointer]


@pytest.fixture
def opened(zookeeper: ZooKeeperServer) -> Iterator[Opener]:
    """Opens pointers to one fresh record."""
    path, pointers = f"/exfm/{uuid.uuid4().hex}", list[ZooKeeperPointer]()

    def open_one(**settings: Any) -> ZooKeeperPointer:
        pointers.append(ZooKeeperPointer(zookeeper.hosts, path, **settings))
        return pointers[-1]

    yield open_one
    for pointer in pointers:
        pointer.close()


@pytest.fixture
def znode(opened: Opener) -> tuple[Any, str]:
    """A client of the server, and the path of the fresh record."""
    pointer = opened()
    pointer.read()
    return pointer._client, pointer._path


@pytest.mark.parametrize("down_seconds", [0.0, 3.0], ids=["within the session", "after the session"])
def test_the_record_outlives_a_killed_server(own_zookeeper: ZooKeeperServer, down_seconds: float) -> None:
    session_seconds = 20.0 if down_seconds == 0 else 1.0
    pointer = ZooKeeperPointer(own_zookeeper.hosts, "/exfm/pointer", session_seconds=session_seconds)
    try:
        point_to(pointer, 1, now=0.0, lease_seconds=60)
        held = point_to(pointer, 2, now=0.0, lease_seconds=60)
        own_zookeeper.kill()
        time.sleep(down_seconds)
        own_zookeeper.start()
        assert pointer.read() == held
        extend_lease(pointer, now=50.0, lease_seconds=60)
        record = pointer.read()
        assert record is not None
        assert (record.version, record.snapshot_day, record.lease_until) == (3, 2, 110.0)
    finally:
        pointer.close()


def test_the_record_outlives_the_session(opened: Opener, zookeeper: ZooKeeperServer) -> None:
    pointer = opened()
    held = point_to(pointer, 1, now=0.0, lease_seconds=60)
    session = pointer._client.client_id
    double = KazooClient(zookeeper.hosts, client_id=session)
    double.start()
    double.stop()  # ends the session for both
    double.close()
    assert pointer.read() == held
    assert pointer._client.client_id != session
    assert point_to(pointer, 2, now=0.0, lease_seconds=60).version == 2


def test_no_server_is_told_in_time() -> None:
    pointer = ZooKeeperPointer(f"127.0.0.1:{free_port()}", "/exfm/pointer", patience_seconds=0.5)
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(PointerUnavailableError, match=r"zookeeper://127.*did not answer within 0\.5 s"):
            pointer.read()
    assert time.monotonic() - started < 10
    pointer.close()


def test_a_server_that_dies_is_told_in_time(own_zookeeper: ZooKeeperServer) -> None:
    pointer = ZooKeeperPointer(own_zookeeper.hosts, "/exfm/pointer", patience_seconds=1.0)
    held = point_to(pointer, 1, now=0.0, lease_seconds=60)
    own_zookeeper.kill()
    with pytest.raises(PointerUnavailableError, match="did not answer"):
        pointer.read()
    with pytest.raises(PointerUnavailableError, match="did not answer"):
        pointer.compare_and_set(1, 2, 0.0)
    own_zookeeper.start()
    deadline = time.monotonic() + 20
    while True:
        try:
            assert pointer.read() == held
            break
        except PointerUnavailableError:
            assert time.monotonic() < deadline
    pointer.close()


class Interrupted:
    """An answer that is lost with its connection, once what happens meanwhile has happened."""

    def __init__(self, *meanwhile: Callable[[], Any]) -> None:
        self._meanwhile = meanwhile

    def get(self, timeout: float) -> None:
        for happens in self._meanwhile:
            happens()
        raise ConnectionLoss


def interrupt(monkeypatch: pytest.MonkeyPatch, client: Any, applied: bool, meanwhile: Callable[[], Any]) -> None:
    """Lose the answer to the next write of a client, which the server has applied or not."""
    for name in ("set_async", "create_async"):
        real = getattr(client, name)

        def write(*arguments: Any, real: Any = real, name: str = name, **settings: Any) -> Any:
            monkeypatch.setattr(client, name, real)
            apply = [lambda: real(*arguments, **settings).get()] if applied else []
            return Interrupted(*apply, meanwhile)

        monkeypatch.setattr(client, name, write)


@pytest.mark.parametrize("version", [None, 1], ids=["first", "later"])
@pytest.mark.parametrize("others", [0, 1, WRITERS_KEPT - 1])
@pytest.mark.parametrize("applied", [True, False])
def test_a_write_whose_answer_is_lost_is_settled(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, version: int | None, others: int, applied: bool
) -> None:
    pointer, other = opened(), opened()
    if version is not None:
        point_to(pointer, 1, now=0.0, lease_seconds=60)
    else:
        pointer.read()

    def others_write() -> None:
        for change in range(others):
            point_to(other, 100 + change, now=0.0, lease_seconds=60)

    interrupt(monkeypatch, pointer._client, applied, others_write)
    written = pointer.compare_and_set(version, 7, 7.0)
    won = applied or others == 0
    assert (written is not None) == won
    held = pointer.read()
    assert held is not None
    assert held.version == (version or 0) + others + (1 if won else 0)
    if written is not None:
        assert (written.version, written.snapshot_day) == ((version or 0) + 1, 7)


def test_what_cannot_be_settled_is_neither_won_nor_lost(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    pointer, other = opened(), opened()
    point_to(pointer, 1, now=0.0, lease_seconds=60)

    def others_write() -> None:
        for change in range(WRITERS_KEPT):
            point_to(other, 100 + change, now=0.0, lease_seconds=60)

    interrupt(monkeypatch, pointer._client, applied=True, meanwhile=others_write)
    with pytest.raises(PointerUnavailableError, match="can't be told"):
        pointer.compare_and_set(1, 7, 7.0)


def test_an_older_answer_than_before_is_not_believed(opened: Opener) -> None:
    pointer = opened(patience_seconds=0.3)
    point_to(pointer, 1, now=0.0, lease_seconds=60)
    pointer.read()
    pointer._newest_change += 1_000_000
    with pytest.raises(PointerUnavailableError, match="older record than before"):
        pointer.read()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "does not hold a pointer's record"),
        (b"\xff", "does not hold a pointer's record"),
        (b" " * (RECORD_BYTES + 1), "at most 65536"),
        (
            b'{"record": {"version": 5, "snapshot_day": 1, "lease_until": 0}, "writers": []}',
            "version 5 in change 1 of the znode",
        ),
    ],
)
def test_what_is_no_record_is_told(opened: Opener, znode: tuple[Any, str], content: bytes, told: str) -> None:
    client, path = znode
    client.create(path, content, makepath=True)
    with pytest.raises(DataError, match=told):
        opened().read()


@pytest.mark.parametrize("expected", [0, -1])
def test_no_expected_version_means_any(opened: Opener, expected: int) -> None:
    """ZooKeeper itself takes -1 for any version."""
    pointer = opened()
    point_to(pointer, 1, now=0.0, lease_seconds=60)
    assert pointer.compare_and_set(expected, 2, 0.0) is None


def test_no_win_is_invented_or_forgotten_while_the_server_is_killed_again_and_again(
    own_zookeeper: ZooKeeperServer,
) -> None:
    """Updaters at full speed may bury a write that was cut off; then it is told as unknown, as neither won nor lost."""
    over = threading.Event()

    def opened() -> ZooKeeperPointer:
        return ZooKeeperPointer(own_zookeeper.hosts, "/exfm/pointer", patience_seconds=60, session_seconds=5)

    def update() -> tuple[list[int], int]:
        won, unknown = [], 0
        with closing(opened()) as own:
            while not over.is_set():
                held = own.read()
                try:
                    written = own.compare_and_set(held.version if held else None, 1, 0.0)
                    won += [written.version] if written else []
                except PointerUnavailableError:
                    unknown += 1
        return won, unknown

    def read() -> list[int]:
        versions = []
        with closing(opened()) as own:
            while not over.is_set():
                held = own.read()
                versions.append(held.version if held else 0)
        return versions

    with ThreadPoolExecutor(4) as pool:
        updaters, reader = [pool.submit(update) for _ in range(3)], pool.submit(read)
        try:
            for _ in range(3):
                time.sleep(0.5)
                own_zookeeper.kill()
                own_zookeeper.start()
            time.sleep(1)
        finally:
            over.set()
        told = [updater.result(timeout=90) for updater in updaters]
        versions = reader.result(timeout=90)
    with closing(opened()) as pointer:
        held = pointer.read()
    assert held is not None
    won = [version for versions_won, _ in told for version in versions_won]
    assert len(set(won)) == len(won)
    assert set(won) <= set(range(1, held.version + 1))
    assert 0 <= held.version - len(won) <= sum(unknown for _, unknown in told)
    assert versions == sorted(versions)


def test_a_server_that_hangs_is_told_in_time(own_zookeeper: ZooKeeperServer) -> None:
    with closing(ZooKeeperPointer(own_zookeeper.hosts, "/exfm/pointer", 1.0, session_seconds=2)) as pointer:
        held = point_to(pointer, 1, now=0.0, lease_seconds=60)
        own_zookeeper.pause()
        started = time.monotonic()
        with pytest.raises(PointerUnavailableError, match="did not answer within 1 s"):
            pointer.read()
        assert time.monotonic() - started < 5
        own_zookeeper.resume()
        pointer._patience_seconds = 30.0
        assert pointer.read() == held


def test_a_record_made_with_credentials_is_closed_to_others(zookeeper: ZooKeeperServer) -> None:
    path = f"/{uuid.uuid4().hex}/pointer"
    with closing(ZooKeeperPointer(zookeeper.hosts, path, credentials="exfm:secret")) as ours:
        held = point_to(ours, 1, now=0.0, lease_seconds=60)
        for credentials in (None, "exfm:wrong"):
            with closing(ZooKeeperPointer(zookeeper.hosts, path, credentials=credentials)) as theirs:
                with pytest.raises(PointerUnavailableError, match="refuses: NoAuthError"):
                    theirs.read()
                with pytest.raises(PointerUnavailableError, match="refuses"):
                    theirs.compare_and_set(1, 2, 60.0)
        assert ours.read() == held


def test_credentials_come_from_the_environment(zookeeper: ZooKeeperServer, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"zookeeper://{zookeeper.hosts}/{uuid.uuid4().hex}"
    monkeypatch.setenv("EXFM_ZOOKEEPER_AUTH", "exfm:secret")
    with closing(pointer_at(address)) as ours:
        point_to(ours, 1, now=0.0, lease_seconds=60)
    monkeypatch.delenv("EXFM_ZOOKEEPER_AUTH")
    with closing(pointer_at(address)) as theirs, pytest.raises(PointerUnavailableError, match="refuses"):
        theirs.read()
