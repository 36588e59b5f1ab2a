"""The loader inside a replica: follows the latest pointer in the background, while the old snapshot answers."""

import logging
import threading
from collections.abc import Callable

from exfm_ray.config import Precision
from exfm_ray.das.expected import Expected
from exfm_ray.das.node_cache import NodeCache
from exfm_ray.das.pointer import LatestPointer, extend_lease
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.snapshot_reader import SnapshotReader
from exfm_ray.das.snapshot_refusal import SnapshotRefusal
from exfm_ray.das.updater import Updater
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.errors import DataError

logger = logging.getLogger(__name__)


class SnapshotLoader:
    """Holds the one predictor that answers, and swaps it whole.

    Args:
        clock: seconds; injected, so that leases are tested without sleeping.
        expected: a snapshot of anything else is refused; None: any will do.
        cache: of the node, so that all its replicas read a snapshot from storage once; None: each reads for itself.
        precision: of the matrix products of an answer.
    """

    def __init__(
        self,
        snapshots: SnapshotDatabase,
        pointer: LatestPointer,
        lease_seconds: float,
        clock: Callable[[], float],
        expected: Expected | None = None,
        cache: NodeCache | None = None,
        precision: Precision = "float32",
    ) -> None:
        self._reader = SnapshotReader(snapshots, expected, cache)
        self._pointer, self._lease_seconds, self._clock = pointer, lease_seconds, clock
        self._precision = precision
        self._refusal: SnapshotRefusal | None = None
        self._cached: str | None = None
        self._stopped = threading.Event()
        self.current: Predictor | None = None
        self.problem: str | None = None
        """why the snapshot that the pointer names could not be loaded"""
        self.swaps = 0
        """how often another snapshot took over from one that answered"""
        self.failures = 0
        """how often following the pointer failed, each try counted"""

    def follow_once(self) -> None:
        """Extend the lease, and load what the pointer names if that is not what answers now.

        What goes wrong is kept in `problem`: the old snapshot goes on answering, and a later call tries again.
        """
        try:
            record = extend_lease(self._pointer, self._clock(), self._lease_seconds)
        except Exception as error:  # of any kind: a thread that died here would leave its replica behind for ever
            self.failures += 1
            self._tell(f"the latest pointer cannot be followed: {error}", error)
            return
        if record is not None and (self.current is None or self.current.snapshot_day != record.snapshot_day):
            self._load(record.snapshot_day)
        else:
            self._tell(None)

    def _load(self, day: int) -> None:
        refusal = self._refusal if self._refusal and self._refusal.snapshot_day == day else None
        if refusal is not None and refusal.is_fresh(self._clock()):
            self._tell(refusal.problem)
            return
        try:
            snapshot = self._reader.read(day)
            predictor = Predictor.of(self._reader.snapshots, snapshot, self._precision)
        except Exception as error:  # as above
            self.failures += 1
            problem = f"snapshot {self._reader.snapshots.directory(day)} cannot be loaded: {error}"
            self._refusal = SnapshotRefusal.after(refusal, day, problem, self._clock())
            self._tell(problem, error)
            return
        self.swaps += self.current is not None
        self.current, self._refusal = predictor, None
        self._tell(None)
        self._keep_cached(snapshot.sha256)

    def _keep_cached(self, sha256: str) -> None:
        """Let go of the file of the snapshot that answered before."""
        before, self._cached = self._cached, sha256
        if self._reader.cache is not None and before not in (None, sha256):
            self._reader.cache.discard(before)

    def _tell(self, problem: str | None, error: Exception | None = None) -> None:
        """Log a problem when it comes, not at every poll; a refusal needs no traceback."""
        if problem is not None and problem != self.problem:
            unexpected = None if isinstance(error, DataError) else error
            logger.error("%s; the old snapshot goes on answering", problem, exc_info=unexpected)
        self.problem = problem

    def follow(self, poll_seconds: float, updater: Updater | None = None) -> threading.Thread:
        """Follow the pointer from a thread of its own until `stop` or the end of the process.

        Another thread extends the lease meanwhile, since loading may take longer than a lease.

        Args:
            updater: moves the pointer to new snapshots before it is followed; None: somebody else moves it.
        """

        def run() -> None:
            while not self._stopped.is_set():
                if updater is not None:
                    updater.update_once()
                self.follow_once()
                self._stopped.wait(poll_seconds)

        thread = threading.Thread(target=run, name="snapshot-loader", daemon=True)
        thread.start()
        threading.Thread(target=self._hold_lease, name="snapshot-lease", daemon=True).start()
        return thread

    def stop(self) -> None:
        """Let the threads end, soon; what answers goes on answering."""
        self._stopped.set()

    def _hold_lease(self) -> None:
        while not self._stopped.wait(self._lease_seconds / 4):
            try:
                extend_lease(self._pointer, self._clock(), self._lease_seconds)
            except Exception as error:
                logger.warning("the lease of the latest snapshot cannot be extended: %s", error)
