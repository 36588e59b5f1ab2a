"""Whether a replica can still do its work."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future


class UnhealthyError(Exception):
    """A replica must be replaced."""


class Health:
    """Looks at the two threads that a replica lives by. Never waits: each check looks at the probe of the one before.

    Args:
        follower: the thread that follows the latest pointer.
        compute: the executor that predicts; what it runs next is a probe.
        stuck_seconds: after which a probe that has not come back means that the executor is stuck.
        clock: seconds that never go back.
    """

    def __init__(
        self, follower: threading.Thread, compute: Executor, stuck_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._follower, self._compute = follower, compute
        self._stuck_seconds, self._clock = stuck_seconds, clock
        self._probe: Future[None] | None = None
        self._sent = 0.0

    def check(self) -> None:
        """Look once.

        Raises:
            UnhealthyError: a thread is dead or stuck.
        """
        if not self._follower.is_alive():
            raise UnhealthyError("the thread that follows the latest pointer is dead")
        if self._probe is None or self._probe.done():
            self._sent = self._clock()
            self._probe = self._compute.submit(_nothing)
        elif (waited := self._clock() - self._sent) > self._stuck_seconds:
            raise UnhealthyError(f"nothing was predicted for {waited:.0f} s, and {self._stuck_seconds:g} are allowed")


def _nothing() -> None:
    """The probe."""
