"""The latest pointer: which snapshot the DAS must use, held under a lease (the paper's Zeus).

Every change is a compare-and-set on the version, so two updaters never undo each other. The clock is an argument.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from exfm_ray.data.location import Location


class PointerRecord(BaseModel):
    """What the pointer says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    """grows by one with every change"""
    snapshot_day: int
    """the day through which the snapshot is trained"""
    lease_until: float
    """seconds since the epoch of the injected clock"""


class LatestPointer(Protocol):
    """A strongly consistent record."""

    def read(self) -> PointerRecord | None:
        """The record, None before the first write."""
        ...

    def compare_and_set(
        self, expected_version: int | None, snapshot_day: int, lease_until: float
    ) -> PointerRecord | None:
        """Write if the version is still the expected one (None: no record yet); None where the race is lost."""
        ...


class EmbeddedPointer:
    """A record in a local directory, guarded by a file lock: for one machine; survives restarts."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._record = Location(str(self._directory)) / "latest.json"

    def read(self) -> PointerRecord | None:
        if not self._record.is_file():
            return None
        return PointerRecord.model_validate(json.loads(self._record.read()))

    def compare_and_set(
        self, expected_version: int | None, snapshot_day: int, lease_until: float
    ) -> PointerRecord | None:
        with self._locked():
            held = self.read()
            if (held.version if held else None) != expected_version:
                return None
            version = (expected_version or 0) + 1
            record = PointerRecord(version=version, snapshot_day=snapshot_day, lease_until=lease_until)
            self._record.write(record.model_dump_json().encode())
            return record

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The kernel frees the lock when its holder dies."""
        with open(self._directory / "latest.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


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
