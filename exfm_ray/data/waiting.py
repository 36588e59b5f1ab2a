"""Waiting for what another step commits. Steps know each other by nothing else."""

import time

from exfm_ray.data.commit import Manifest, committed
from exfm_ray.data.location import Location
from exfm_ray.waits import in_vain, noted_wait, pause

WAIT_MEND = "see in the run's logs why what makes it is so slow, or raise resources.wait_timeout_seconds"

_LONGEST_PAUSE_SECONDS = 0.3


def wait_until_committed(directory: Location, timeout_seconds: float, what: str) -> Manifest:
    """Return once the directory is committed.

    Args:
        what: is waited for, in words, such as "supervision of day 5".

    Raises:
        WaitError: it is still not there after `timeout_seconds`.
        StoppedError: this thread's waits were ended.
    """
    if (manifest := committed(directory)) is not None:
        return manifest
    deadline, seconds = time.monotonic() + timeout_seconds, 0.05
    with noted_wait(what):
        while (manifest := committed(directory)) is None:
            if time.monotonic() > deadline:
                raise in_vain(timeout_seconds, f"{what} at {directory}", WAIT_MEND)
            pause(seconds)
            seconds = min(seconds * 1.5, _LONGEST_PAUSE_SECONDS)
    return manifest
