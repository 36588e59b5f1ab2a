"""Whether a replica can still do its work, and what it tells of its state."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future

from exfm_ray.das.loader import SnapshotLoader
from exfm_ray.das.metrics import ReplicaState
from exfm_ray.data.commit import require
from exfm_ray.data.snapshots import SnapshotDatabase

logger = logging.getLogger(__name__)


class UnhealthyError(Exception):
    """A replica must be replaced."""


class Health:
    """Looks at the two threads that a replica lives by. Never waits: each check looks at the probe of the one before.

    Args:
        follower: the thread that follows the latest pointer.
        compute: the executor that predicts; what it runs next is a probe.
        stuck_seconds: after which a probe that has not come back means that the executor is stuck.
        clock: seconds that never go back.
    """

    def __init__(
        self, follower: threading.Thread, compute: Executor, stuck_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._follower, self._compute = follower, compute
        self._stuck_seconds, self._clock = stuck_seconds, clock
        self._probe: Future[None] | None = None
        self._sent = 0.0

    def check(self) -> None:
        """Look once.

        Raises:
            UnhealthyError: a thread is dead or stuck.
        """
        if not self._follower.is_alive():
            raise UnhealthyError("the thread that follows the latest pointer is dead")
        if self._probe is None or self._probe.done():
            self._sent = self._clock()
            self._probe = self._compute.submit(_nothing)
        elif (waited := self._clock() - self._sent) > self._stuck_seconds:
            raise UnhealthyError(f"nothing was predicted for {waited:.0f} s, and {self._stuck_seconds:g} are allowed")


def _nothing() -> None:
    """The probe."""


class StateReader:
    """Reads off a loader what a replica tells of its state.

    Args:
        clock: seconds since the Unix epoch.
    """

    def __init__(self, loader: SnapshotLoader, snapshots: SnapshotDatabase, clock: Callable[[], float]) -> None:
        self._loader, self._snapshots, self._clock = loader, snapshots, clock
        self._published: tuple[int, float] | None = None
        """a snapshot's day, and when it was published"""

    def read(self) -> ReplicaState:
        """Reads storage once per snapshot; where that fails the age is unknown, and the next call tries again."""
        current, record, now = self._loader.current, self._loader.record, self._clock()
        published = self._published_at(current.snapshot_day) if current else None
        return ReplicaState(
            snapshot_day=current.snapshot_day if current else None,
            snapshot_age_seconds=None if published is None else now - published,
            lease_left_seconds=None if record is None else record.lease_until - now,
            swaps=self._loader.swaps,
            failed_loads=self._loader.failures,
        )

    def _published_at(self, day: int) -> float | None:
        if self._published is None or self._published[0] != day:
            try:
                made = require(self._snapshots.directory(day)).made
            except Exception:  # of any kind that storage knows; to know the age is not worth a failure
                logger.exception("when the snapshot of day %d was published is unknown", day)
                return None
            self._published = (day, made.started + made.seconds)
        return self._published[1]
