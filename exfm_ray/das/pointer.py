"""The latest pointer: which snapshot the DAS must use, held under a lease (the paper's Zeus, 3.2).

Every change is a compare-and-set on the version, so two updaters never undo each other. The clock is an argument.
"""

from typing import Protocol

from pydantic import BaseModel, ConfigDict

RECORD_BYTES = 65_536
"""no more is read of a record: a larger one was not written by this program"""


class PointerUnavailableError(Exception):
    """The store of the pointer did not answer in time: whether a change under way was made is unknown."""


class PointerRecord(BaseModel):
    """What the pointer says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    """grows by one with every change"""
    snapshot_day: int
    """the day through which the snapshot is trained"""
    lease_until: float
    """of that snapshot; seconds since the epoch of the injected clock"""
    older_until: float = 0.0
    """when the last lease on any snapshot named before has ended; the same seconds"""


class LatestPointer(Protocol):
    """A strongly consistent record.

    Both operations raise DataError where the record is not one, and PointerUnavailableError where the store does not
    answer.
    """

    def read(self) -> PointerRecord | None:
        """The record, None before the first write. A reader never sees an older one after a newer one."""
        ...

    def compare_and_set(
        self, expected_version: int | None, snapshot_day: int, lease_until: float
    ) -> PointerRecord | None:
        """Write if the version is still the expected one (None: no record yet); None where the race is lost."""
        ...

    def close(self) -> None:
        """Let go of connections; the record stays."""
        ...


def following(held: PointerRecord | None, snapshot_day: int, lease_until: float) -> PointerRecord:
    """The record that comes after the held one; the lease of a snapshot that it no longer names is remembered."""
    if held is None:
        return PointerRecord(version=1, snapshot_day=snapshot_day, lease_until=lease_until)
    older_until = held.older_until
    if held.snapshot_day != snapshot_day:
        older_until = max(older_until, held.lease_until)
    return PointerRecord(
        version=held.version + 1, snapshot_day=snapshot_day, lease_until=lease_until, older_until=older_until
    )


def point_to(pointer: LatestPointer, snapshot_day: int, now: float, lease_seconds: float) -> PointerRecord:
    """Make the pointer say `snapshot_day` under a new lease, whatever it said before."""
    while True:
        held = pointer.read()
        if held is not None and held.snapshot_day == snapshot_day and held.lease_until - now > lease_seconds / 2:
            return held
        version = held.version if held else None
        written = pointer.compare_and_set(version, snapshot_day, now + lease_seconds)
        if written is not None:
            return written


def extend_lease(pointer: LatestPointer, now: float, lease_seconds: float) -> PointerRecord | None:
    """Extend the lease of what the pointer says once half of it has gone; who loses the race has nothing to do."""
    held = pointer.read()
    if held is not None and held.lease_until - now < lease_seconds / 2:
        pointer.compare_and_set(held.version, held.snapshot_day, now + lease_seconds)
    return held
