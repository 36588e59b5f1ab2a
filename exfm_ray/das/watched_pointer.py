"""A latest pointer that remembers what it last said, for those who only want to know."""

from exfm_ray.das.pointer import LatestPointer, PointerRecord


class WatchedPointer:
    """Another pointer, with its answers looked at on the way."""

    def __init__(self, pointer: LatestPointer) -> None:
        self._pointer = pointer
        self.seen: PointerRecord | None = None
        """the record, as the last operation that succeeded through here found or left it"""

    def read(self) -> PointerRecord | None:
        self.seen = self._pointer.read()
        return self.seen

    def compare_and_set(
        self, expected_version: int | None, snapshot_day: int, lease_until: float
    ) -> PointerRecord | None:
        written = self._pointer.compare_and_set(expected_version, snapshot_day, lease_until)
        if written is not None:
            self.seen = written
        return written

    def close(self) -> None:
        self._pointer.close()
