"""Waiting that ends: each wait has a time-out and says for what it is, so that a display can tell, and can be ended.

Within a driver, steps run beside each other in threads. What one of them waits for is known to all threads of the
process by `current_waits`; what ends a step's waits is known to the step's own threads alone.
"""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from exfm_ray.errors import WaitError

Value = TypeVar("Value")

_PAUSE_SECONDS = 0.2


class StoppedError(Exception):
    """What would be waited for will not come, since another step has failed; that one's failure is told."""


@dataclass(frozen=True, eq=False)
class Wait:
    """Something that is waited for."""

    what: str
    """in words, such as "a worker for the FM" """
    is_over: Callable[[], bool]
    since: float = field(default_factory=time.monotonic)
    """on the monotonic clock"""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since


_lock = threading.Lock()
_waits: list[Wait] = []
_stop: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("stop", default=None)


def current_waits() -> list[Wait]:
    """What this process waits for, the longest wait first."""
    with _lock:
        waits = list(_waits)
    return [wait for wait in waits if not wait.is_over()]


@contextmanager
def noted_wait(what: str, is_over: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Let displays tell for the time of the block what is waited for.

    Args:
        is_over: tells that the block goes on with what was waited for.
    """
    wait = Wait(what, is_over)
    with _lock:
        _waits.append(wait)
    try:
        yield
    finally:
        with _lock:
            _waits.remove(wait)


@contextmanager
def ended_by(stop: threading.Event) -> Iterator[None]:
    """Every wait of this thread ends with a StoppedError once the event is set."""
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def pause(seconds: float) -> None:
    """Sleep for a while, or until this thread's waits are ended.

    Raises:
        StoppedError: they are.
    """
    stop = _stop.get()
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise StoppedError("another step has failed")


def within(
    timeout_seconds: float | None,
    what: str,
    mend: Callable[[], str] | str,
    call: Callable[[], Value],
    has_begun: Callable[[], bool] = lambda: False,
) -> Value:
    """What a call returns that may block for ever, in a thread which is left to itself when it takes too long.

    Args:
        timeout_seconds: None lets it take as long as it will, until this thread's waits are ended.
        what: is waited for, in words.
        mend: what helps against having waited in vain, or how to say it then.
        has_begun: where this is so, what was waited for is there, and the call may take as long as it will.

    Raises:
        WaitError: it took longer.
        StoppedError: this thread's waits were ended.
    """
    answers: list[Value] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # told in the thread that waits
            failures.append(error)
        done.set()

    started = time.monotonic()
    threading.Thread(target=contextvars.copy_context().run, args=(run,), name=what, daemon=True).start()
    while not done.wait(_PAUSE_SECONDS):
        pause(0)
        if timeout_seconds is not None and time.monotonic() - started > timeout_seconds:
            if not has_begun():
                raise in_vain(timeout_seconds, what, mend if isinstance(mend, str) else mend())
            timeout_seconds = None
    if failures:
        raise failures[0]
    return answers[0]


def in_vain(seconds: float, what: str, mend: str) -> WaitError:
    """The failure that says for what was waited, how long, and what helps."""
    return WaitError(f"waited {seconds:.0f} s for {what}, and it is not there; {mend}")
