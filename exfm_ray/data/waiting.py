"""Waiting for what another step commits. Steps know each other by nothing else."""

import time

from exfm_ray.data.commit import Manifest, committed
from exfm_ray.data.location import Location
from exfm_ray.errors import DataError

_LONGEST_PAUSE_SECONDS = 1.0


def wait_until_committed(directory: Location, timeout_seconds: float, what: str) -> Manifest:
    """Return once the directory is committed.

    Args:
        what: is waited for, in words, such as "supervision of day 5".

    Raises:
        DataError: it is still not there after `timeout_seconds`.
    """
    deadline, pause = time.monotonic() + timeout_seconds, 0.05
    while (manifest := committed(directory)) is None:
        if time.monotonic() > deadline:
            raise DataError(f"waited {timeout_seconds:.0f} s for {what} at {directory}, and it is not there")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
    return manifest
