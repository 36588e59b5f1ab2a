"""The loader inside a replica: follows the latest pointer in the background, while the old snapshot answers."""

import logging
import threading
from collections.abc import Callable

from exfm_ray.das.pointer import LatestPointer, PointerRecord, extend_lease
from exfm_ray.das.predictor import Predictor
from exfm_ray.data.snapshots import SnapshotDatabase

logger = logging.getLogger(__name__)


class SnapshotLoader:
    """Holds the one predictor that answers, and swaps it whole.

    Args:
        clock: seconds; injected, so that leases are tested without sleeping.
    """

    def __init__(
        self, snapshots: SnapshotDatabase, pointer: LatestPointer, lease_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._snapshots, self._pointer = snapshots, pointer
        self._lease_seconds, self._clock = lease_seconds, clock
        self.current: Predictor | None = None
        self.problem: str | None = None
        """why the snapshot that the pointer names could not be loaded"""
        self.record: PointerRecord | None = None
        """what the pointer said when it was last read"""
        self.swaps = 0
        """how often another snapshot took over from one that answered"""
        self.failures = 0
        """how often following the pointer failed, each try counted"""

    def follow_once(self) -> None:
        """Extend the lease, and load what the pointer names if that is not what answers now.

        What goes wrong is kept in `problem`: the old snapshot goes on answering, and the next call tries again.
        """
        what = "the latest pointer cannot be followed"
        try:
            record = extend_lease(self._pointer, self._clock(), self._lease_seconds)
            self.record, current = record, self.current
            if record is not None and (current is None or current.snapshot_day != record.snapshot_day):
                what = f"snapshot {self._snapshots.directory(record.snapshot_day)} cannot be loaded"
                self.current = Predictor.load(self._snapshots, record.snapshot_day)
                self.swaps += current is not None
            self.problem = None
        except Exception as error:  # of any kind: a thread that died here would leave its replica behind for ever
            self.problem = f"{what}: {error}"
            self.failures += 1
            logger.exception("the old snapshot goes on answering")

    def follow(self, poll_seconds: float) -> threading.Thread:
        """Follow the pointer from a thread of its own until the process ends."""

        def run() -> None:
            pause = threading.Event()
            while True:
                self.follow_once()
                pause.wait(poll_seconds)

        thread = threading.Thread(target=run, name="snapshot-loader", daemon=True)
        thread.start()
        return thread
