"""The latest pointer in Apache ZooKeeper: for clusters, where no directory is shared with a lock.

The record is the JSON of one persistent znode, so it outlives every session and a restart of the servers; a lease is a
time in the record. ZooKeeper's own version of the znode decides each race.
"""

import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import make_digest_acl
from pydantic import BaseModel, ConfigDict, ValidationError

from exfm_ray.das.pointer import RECORD_BYTES, PointerRecord, PointerUnavailableError, following
from exfm_ray.errors import DataError

PAUSE_SECONDS = 0.05
"""between two tries of an operation"""
WRITERS_KEPT = 128
"""in the znode: a write that was cut off can be settled until so many changes of others have followed it"""
RECONNECT = {"max_tries": -1, "delay": 0.05, "max_delay": 1.0}
"""kazoo goes on connecting for ever in the background; it is an operation here that runs out of patience"""

Answer = TypeVar("Answer")


class StaleReadError(Exception):
    """A server answered with less than this reader has seen."""


WORTH_ANOTHER_TRY = (ConnectionLoss, SessionExpiredError, SessionMovedError, OperationTimeoutError, StaleReadError)


class Znode(BaseModel):
    """What the znode holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: PointerRecord
    writers: tuple[str, ...]
    """one name per change, the newest first: who made this version, the one before it, …"""

    def changed(self, snapshot_day: int, lease_until: float, writer: str) -> "Znode":
        """What comes after it."""
        record = following(self.record, snapshot_day, lease_until)
        return Znode(record=record, writers=(writer, *self.writers)[:WRITERS_KEPT])


class Patience:
    """What is left of the time for one operation.

    Args:
        seconds: for all tries together.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.failures = 0
        """tries whose outcome never arrived"""

    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self._end - time.monotonic())


class ZooKeeperPointer:
    """A record in one znode.

    Args:
        hosts: `host:port,host:port` of the ensemble.
        path: of the znode; what is missing above it is made.
        patience_seconds: for one operation, reconnecting included; giving up may take `session_seconds` more.
        session_seconds: asked of the servers; a connection that is silent for two thirds of it is given up.
        credentials: `user:password` of ZooKeeper's digest scheme; what is made is then open to that user alone.
    """

    def __init__(
        self,
        hosts: str,
        path: str,
        patience_seconds: float = 30.0,
        session_seconds: float = 10.0,
        credentials: str | None = None,
    ) -> None:
        self._hosts, self._path, self._credentials = hosts, path, credentials
        self._patience_seconds, self._session_seconds = patience_seconds, session_seconds
        self._lock = threading.Lock()
        self._client: Any = None
        self._newest_change = 0

    def read(self) -> PointerRecord | None:
        held = self._answer(Patience(self._patience_seconds), self._look)
        return held.record if held else None

    def compare_and_set(
        self, expected_version: int | None, snapshot_day: int, lease_until: float
    ) -> PointerRecord | None:
        patience = Patience(self._patience_seconds)
        held = self._answer(patience, self._look)
        if (held.record.version if held else None) != expected_version:
            return None
        writer = uuid.uuid4().hex[:16]
        if held is None:
            wanted = Znode(record=following(None, snapshot_day, lease_until), writers=(writer,))
        else:
            wanted = held.changed(snapshot_day, lease_until, writer)
        patience.failures = 0  # only a try of the write itself leaves its outcome open
        return wanted.record if self._answer(patience, partial(self._write, wanted)) else None

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.stop()
            client.close()

    def _look(self, client: Any, patience: Patience) -> Znode | None:
        """What the znode holds now.

        `sync` brings the server up to the leader, and ZooKeeper lets a session only connect to servers that are not
        behind it. Between two sessions that does not hold, so the newest change seen is remembered as well.
        """
        client.sync_async(self._path).get(timeout=patience.left())
        try:
            content, stat = client.get_async(self._path).get(timeout=patience.left())
        except NoNodeError:
            return None
        with self._lock:
            if stat.mzxid < self._newest_change:
                raise StaleReadError(f"{self} answered with an older record than before")
            self._newest_change = stat.mzxid
        return self._checked(content, stat.version)

    def _checked(self, content: bytes, znode_version: int) -> Znode:
        if len(content) > RECORD_BYTES:
            raise DataError(f"{self} has {len(content)} bytes; a pointer's record has at most {RECORD_BYTES}")
        try:
            held = Znode.model_validate_json(content)
        except ValidationError as error:
            raise DataError(f"{self} does not hold a pointer's record; name another path") from error
        if held.record.version != znode_version + 1:
            raise DataError(f"{self} holds version {held.record.version} in change {znode_version + 1} of the znode")
        return held

    def _write(self, wanted: Znode, client: Any, patience: Patience) -> bool:
        """Whether the wanted change is made. Safe to try again: the version lets it happen once."""
        content, version = wanted.model_dump_json().encode(), wanted.record.version
        try:
            if version == 1:
                client.create_async(self._path, content, makepath=True).get(timeout=patience.left())
            else:  # ZooKeeper counts changes from 0, so the version held is one less than the expected one
                client.set_async(self._path, content, version=version - 2).get(timeout=patience.left())
        except (BadVersionError, NodeExistsError, NoNodeError):
            # A refusal on the first try is a lost race; later it may be our own change that stands in the way.
            return patience.failures > 0 and self._is_ours(wanted, client, patience)
        return True

    def _is_ours(self, wanted: Znode, client: Any, patience: Patience) -> bool:
        """Read back who made the wanted version, which others may have changed since."""
        held = self._look(client, patience)
        changes_since = held.record.version - wanted.record.version if held else -1
        if held is None or not 0 <= changes_since < len(held.writers):
            raise PointerUnavailableError(f"{self}: the connection was lost, and who made the change can't be told")
        return held.writers[changes_since] == wanted.writers[0]

    def _answer(self, patience: Patience, ask: Callable[[Any, Patience], Answer]) -> Answer:
        """Try until the servers answer.

        Raises:
            PointerUnavailableError: they do not in time, refuse, or can't tell who made a change that was cut off.
        """
        while True:
            try:
                return ask(self._connected(patience), patience)
            except WORTH_ANOTHER_TRY as error:
                patience.failures += 1
                if patience.left() <= PAUSE_SECONDS:
                    raise self._unavailable(error) from error
                time.sleep(PAUSE_SECONDS)
            except KazooTimeoutError as error:
                raise self._unavailable(error) from error
            except KazooException as error:
                raise PointerUnavailableError(f"{self} refuses: {error!r}") from error

    def _connected(self, patience: Patience) -> Any:
        """The client, which connects at first use and from then on reconnects by itself."""
        with self._lock:
            if self._client is None:
                client = KazooClient(
                    self._hosts,
                    timeout=self._session_seconds,
                    connection_retry=dict(RECONNECT),
                    **_access(self._credentials),
                )
                client.start(timeout=patience.left())
                self._client = client
            return self._client

    def _unavailable(self, error: Exception) -> PointerUnavailableError:
        why = str(error) or type(error).__name__
        return PointerUnavailableError(
            f"{self} did not answer within {self._patience_seconds:g} s ({why}); is ZooKeeper running there?"
        )

    def __str__(self) -> str:
        return f"zookeeper://{self._hosts}{self._path}"


def _access(credentials: str | None) -> dict[str, Any]:
    """How a client proves who it is, and who may touch the znodes that it makes."""
    if credentials is None:
        return {}
    user, _, password = credentials.partition(":")
    return {"auth_data": [("digest", credentials)], "default_acl": [make_digest_acl(user, password, all=True)]}
