"""Runs on one machine that share work in a store: one makes it, the others wait for what it commits.

The locks are those of the kernel, which lets go when a process dies, however it dies. An object store has none: there
two runs that start at once do the same work, to the same bytes, and the first commit of each piece wins.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from exfm_ray.data.location import Location
from exfm_ray.data.waiting import WAIT_MEND
from exfm_ray.waits import in_vain, noted_wait, pause

POLL_SECONDS = 0.2


@contextmanager
def using(lock: Location) -> Iterator[None]:
    """Keep work from being deleted for as long as the block takes; waits while it is being deleted."""
    if not lock.is_local:
        yield
        return
    with _opened(lock) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def deleting(lock: Location) -> Iterator[bool]:
    """Yields whether nobody uses the work; nobody begins to while the block lasts."""
    if not lock.is_local:
        yield True
        return
    with _opened(lock) as file:
        yield _try_lock(file)


@contextmanager
def turn(
    lock: Location | None,
    left: Callable[[], int],
    timeout_seconds: float,
    what: str,
    tell: Callable[[str], None],
) -> Iterator[None]:
    """Wait until it is this run's turn to make something, or until another run has made all of it.

    Args:
        lock: of the work in a store; None: nobody else makes it.
        left: how many pieces are still to be made.
        timeout_seconds: for which no piece may come while another run is at it.
        what: is made, in words, such as "the FM".
        tell: says a line to the user.

    Raises:
        WaitError: another run is at it, and nothing comes.
        StoppedError: this thread's waits were ended.
    """
    if lock is None or not lock.is_local:
        yield
        return
    with _opened(lock) as file:
        before, deadline = left(), time.monotonic() + timeout_seconds
        if before and not (is_ours := _try_lock(file)):
            tell(f"{what}: another run makes it in the store; waiting for what it commits")
            makes = f"{what}, which the run that holds {lock} makes"
            with noted_wait(f"{what}, which another run makes"):
                while (now := left()) and not is_ours:
                    if now < before:
                        before, deadline = now, time.monotonic() + timeout_seconds
                    if time.monotonic() > deadline:
                        raise in_vain(timeout_seconds, makes, WAIT_MEND)
                    pause(POLL_SECONDS)
                    is_ours = _try_lock(file)
        yield


@contextmanager
def _opened(lock: Location) -> Iterator[int]:
    Path(lock.uri).parent.mkdir(parents=True, exist_ok=True)
    file = os.open(lock.uri, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield file
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
