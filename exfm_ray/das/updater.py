"""The updater inside a replica: moves the latest pointer to what the trainers publish (ExFM 3.2)."""

import logging
from collections.abc import Callable

from exfm_ray.das.expected import Expected
from exfm_ray.das.node_cache import NodeCache
from exfm_ray.das.pointer import LatestPointer, PointerRecord
from exfm_ray.das.snapshot_reader import SnapshotReader
from exfm_ray.das.snapshot_refusal import SnapshotRefusal
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.errors import DataError

logger = logging.getLogger(__name__)


class Updater:
    """Runs in every replica. All are equal: a compare-and-set decides who moves the pointer, and nobody waits.

    Args:
        lease_seconds: of the lease that a snapshot is named under.
        clock: seconds; injected, so that leases are tested without sleeping.
        cache: of the node, so that what is checked here is not read from storage again to be loaded.
    """

    def __init__(
        self,
        snapshots: SnapshotDatabase,
        pointer: LatestPointer,
        lease_seconds: float,
        clock: Callable[[], float],
        expected: Expected,
        cache: NodeCache | None = None,
    ) -> None:
        self._reader = SnapshotReader(snapshots, expected, cache)
        self._pointer, self._lease_seconds, self._clock = pointer, lease_seconds, clock
        self._sound: set[int] = set()
        self.refused: dict[int, str] = {}
        """day → why its snapshot is passed over for ever, as committed things never change"""
        self._unread: dict[int, SnapshotRefusal] = {}
        self.problem: str | None = None
        """why new snapshots cannot be looked for, or the newest of them not be read at present"""

    def update_once(self) -> PointerRecord | None:
        """Move the pointer to the newest sound snapshot if that is newer than what it names, and never back.

        What goes wrong is kept in `problem`, and the next call tries again.

        Returns:
            the new record; None where nothing was moved, as when another updater was first.
        """
        try:
            moved = self._move()
            self.problem = next((refusal.problem for refusal in self._unread.values()), None)
        except Exception as error:  # of any kind: a thread that died here would leave its replica behind for ever
            problem = f"new snapshots of {self._reader.snapshots.root} cannot be looked for: {error}"
            if problem != self.problem:
                logger.warning("%s", problem, exc_info=error)
            self.problem = problem
            return None
        return moved

    def _move(self) -> PointerRecord | None:
        day = self._newest_sound(_named_day(self._pointer.read()))
        if day is None:
            return None
        held = self._pointer.read()  # checking took its time, and each extension of a lease is a change as well
        if _named_day(held) >= day:
            return None
        version = held.version if held else None
        return self._pointer.compare_and_set(version, day, self._clock() + self._lease_seconds)

    def _newest_sound(self, after: int) -> int | None:
        self._sound = {day for day in self._sound if day > after}
        self.refused = {day: why for day, why in self.refused.items() if day > after}
        self._unread = {day: refusal for day, refusal in self._unread.items() if day > after}
        days = reversed(self._reader.snapshots.days(after))
        return next((day for day in days if day not in self.refused and self._is_sound(day)), None)

    def _is_sound(self, day: int) -> bool:
        if day in self._sound:
            return True
        before = self._unread.get(day)
        if before is not None and before.is_fresh(self._clock()):
            return False
        self._unread.pop(day, None)
        problem = f"snapshot {self._reader.snapshots.directory(day)} is passed over: "
        try:
            self._reader.read(day)
        except DataError as error:
            self.refused[day] = str(error)
            logger.warning("%s%s", problem, error)
            return False
        except OSError as error:  # the store's or the disk's trouble, which may pass
            self._unread[day] = SnapshotRefusal.after(before, day, f"{problem}{error}", self._clock())
            if before is None:
                logger.warning("%s%s; it is tried again", problem, error)
            return False
        self._sound.add(day)
        return True


def _named_day(held: PointerRecord | None) -> int:
    """Below every day where nothing is named."""
    return -1 if held is None else held.snapshot_day
