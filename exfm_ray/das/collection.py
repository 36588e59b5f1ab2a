"""Which snapshots nobody needs any more (ExFM 3.2)."""

from collections.abc import Iterable

from exfm_ray.das.pointer import LatestPointer, PointerRecord
from exfm_ray.data.snapshots import SnapshotDatabase


def collectable(days: Iterable[int], record: PointerRecord | None, now: float) -> list[int]:
    """Days whose snapshots may be deleted: older than what the pointer names, and every lease on them has ended.

    A replica may use a snapshot until its lease ends, also after the pointer has moved on; what the pointer names is
    kept whether its lease holds or not, since a replica that starts loads it.

    Args:
        days: of the published snapshots.
        record: what the pointer says; None, before anything is named, keeps everything.
        now: seconds, of the clock that the leases are given by.
    """
    if record is None or now < record.older_until:
        return []
    return sorted(day for day in days if day < record.snapshot_day)


def collect(snapshots: SnapshotDatabase, pointer: LatestPointer, now: float) -> list[int]:
    """Delete the snapshots that nobody needs any more, and finish deletions that were cut off.

    For live operation alone: a simulation that goes on pins supervision to snapshots of older days.

    Args:
        now: seconds, of the clock that the leases are given by.

    Returns:
        the days whose snapshots are gone now, in order.
    """
    days = {*snapshots.days(), *snapshots.condemned_days()}
    unneeded = collectable(days, pointer.read(), now)
    for day in unneeded:
        snapshots.delete(day)
    return unneeded
