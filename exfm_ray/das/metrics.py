"""What the service tells Prometheus, through Ray: each name below with `ray_` before it, counters with `_total` after.

Ray Serve adds the tags application, deployment and replica inside a replica. Without a cluster nothing is sent.
"""

from dataclasses import dataclass

from ray.serve.metrics import Counter, Gauge, Histogram
from ray.util import metrics

LATENCY_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0]
BATCH_ROWS = [float(4**power) for power in range(11)]
"""from 1 to 1,048,576, the most that a recipe allows"""


@dataclass(frozen=True)
class ReplicaState:
    """What a replica looks like from outside at one moment."""

    snapshot_day: int | None
    """of the snapshot that answers; None: none is loaded"""
    snapshot_age_seconds: float | None
    """since that snapshot was published; None: unknown"""
    lease_left_seconds: float | None
    """of what the pointer names, negative once it has ended; None: the pointer was not read yet"""
    swaps: int
    failed_loads: int


class ReplicaMetrics:
    """Those of one replica; made inside it."""

    def __init__(self) -> None:
        self._rows = Counter("exfm_das_rows", "Rows supervised.")
        self._requests = Counter("exfm_das_requests", "Requests answered.")
        self._refused = Counter("exfm_das_refused_requests", "Requests turned away because too many rows waited.")
        self._failed = Counter("exfm_das_failed_requests", "Requests that failed for another reason.")
        self._latency = Histogram(
            "exfm_das_request_latency_seconds", "From a request's arrival to its answer.", boundaries=LATENCY_SECONDS
        )
        self._batch_rows = Histogram("exfm_das_batch_rows", "Rows predicted together.", boundaries=BATCH_ROWS)
        self._queued_rows = Gauge("exfm_das_queued_rows", "Rows that wait.")
        self._snapshot_day = Gauge("exfm_das_snapshot_day", "Day through which the snapshot in use is trained.")
        self._snapshot_age = Gauge("exfm_das_snapshot_age_seconds", "Since the snapshot in use was published.")
        self._lease_left = Gauge("exfm_das_lease_left_seconds", "Until the latest pointer's lease ends.")
        self._swaps = Counter("exfm_das_swaps", "Snapshots that took over from another.")
        self._failed_loads = Counter("exfm_das_failed_loads", "Tries to follow the latest pointer that failed.")
        self._told = ReplicaState(None, None, None, swaps=0, failed_loads=0)

    def queued(self, rows: int) -> None:
        """So many rows wait now."""
        self._queued_rows.set(rows)

    def refused(self) -> None:
        """A request was turned away."""
        self._refused.inc()

    def batch(self, rows: int) -> None:
        """So many rows are predicted together."""
        self._batch_rows.observe(rows)

    def failed(self) -> None:
        """A request ended without an answer."""
        self._failed.inc()

    def answered(self, rows: int, seconds: float) -> None:
        """A request of so many rows had its answer after so long."""
        self._requests.inc()
        self._latency.observe(seconds)
        if rows:
            self._rows.inc(rows)

    def state(self, state: ReplicaState) -> None:
        """How the replica stands now."""
        for gauge, value in (
            (self._snapshot_day, state.snapshot_day),
            (self._snapshot_age, state.snapshot_age_seconds),
            (self._lease_left, state.lease_left_seconds),
        ):
            if value is not None:
                gauge.set(value)
        for counter, before, now in (
            (self._swaps, self._told.swaps, state.swaps),
            (self._failed_loads, self._told.failed_loads, state.failed_loads),
        ):
            if now > before:
                counter.inc(now - before)
        self._told = state


class WindowMetrics:
    """That of the feedback window, for whoever joins features and labels, in any process of the cluster.

    Args:
        application: name of the FM's Serve application, the tag.
    """

    def __init__(self, application: str) -> None:
        self._headroom = metrics.Gauge(
            "exfm_das_window_headroom_seconds",
            "What the FM leaves of the feedback window.",
            tag_keys=("application",),
        )
        self._headroom.set_default_tags({"application": application})

    def headroom(self, seconds: float) -> None:
        """From the FM's answer to the end of the window; negative where the answer came late."""
        self._headroom.set(seconds)
