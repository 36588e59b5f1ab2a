"""What a replica tells of its state."""

import logging
from collections.abc import Callable

from exfm_ray.das.loader import SnapshotLoader
from exfm_ray.das.metrics import ReplicaState
from exfm_ray.das.watched_pointer import WatchedPointer
from exfm_ray.data.commit import require
from exfm_ray.data.snapshots import SnapshotDatabase

logger = logging.getLogger(__name__)


class StateReader:
    """Reads off a replica's parts what it tells of its state.

    Args:
        pointer: that the loader follows.
        clock: seconds since the Unix epoch.
    """

    def __init__(
        self,
        loader: SnapshotLoader,
        pointer: WatchedPointer,
        snapshots: SnapshotDatabase,
        clock: Callable[[], float],
    ) -> None:
        self._loader, self._pointer, self._snapshots, self._clock = loader, pointer, snapshots, clock
        self._published: tuple[int, float] | None = None
        """a snapshot's day, and when it was published"""

    def read(self) -> ReplicaState:
        """Reads storage once per snapshot; where that fails the age is unknown, and the next call tries again."""
        current, record, now = self._loader.current, self._pointer.seen, self._clock()
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
