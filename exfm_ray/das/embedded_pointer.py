"""The latest pointer in a local directory."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from exfm_ray.das.pointer import RECORD_BYTES, PointerRecord, following
from exfm_ray.data.location import Location
from exfm_ray.errors import DataError


class EmbeddedPointer:
    """A record in a local directory, guarded by a file lock: for one machine; survives restarts."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._record = Location(str(self._directory)) / "latest.json"

    def read(self) -> PointerRecord | None:
        if not self._record.is_file():
            return None
        if (size := self._record.size()) > RECORD_BYTES:
            raise DataError(f"{self._record} has {size} bytes; a pointer's record has at most {RECORD_BYTES}")
        try:
            return PointerRecord.model_validate_json(self._record.read())
        except ValidationError as error:
            raise DataError(f"{self._record} is not a pointer's record") from error

    def compare_and_set(
        self, expected_version: int | None, snapshot_day: int, lease_until: float
    ) -> PointerRecord | None:
        with self._locked():
            held = self.read()
            if (held.version if held else None) != expected_version:
                return None
            record = following(held, snapshot_day, lease_until)
            self._record.write(record.model_dump_json().encode())
            return record

    def close(self) -> None:
        """Nothing is held between operations."""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The kernel frees the lock when its holder dies."""
        with open(self._directory / "latest.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
