"""Steps that run beside each other in one driver."""

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from exfm_ray.waits import ended_by

Ended = queue.SimpleQueue[BaseException | None]
LEAVE_SECONDS = 5.0
"""taking the FM's replicas away needs some"""


def together(*steps: Callable[[], None]) -> None:
    """Run the steps in threads until all have ended, or one has failed.

    Then the others' waits are ended, so that they put away what they hold, and the first failure is raised. A step that
    computes is not waited for: the threads are daemons and must not keep a failed process alive.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, or the process was asked to end (SIGTERM).
    """
    ended: Ended = queue.SimpleQueue()
    stop = threading.Event()

    def run(step: Callable[[], None]) -> None:
        try:
            with ended_by(stop):
                step()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    with _interrupts_told(ended):
        threads = [threading.Thread(target=run, args=(step,), daemon=True) for step in steps]
        for thread in threads:
            thread.start()
        for _ in steps:
            failure = _next(ended)
            if failure is not None:
                stop.set()
                _let_end(threads)
                raise failure


@contextmanager
def _interrupts_told(ended: Ended) -> Iterator[None]:
    """Ctrl-C and SIGTERM as one more message. An exception could fall into a finalizer, where it would be lost."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: ended.put(KeyboardInterrupt())) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _let_end(threads: Sequence[threading.Thread]) -> None:
    """Give threads whose waits are ended a moment to put away what they hold."""
    until = time.monotonic() + LEAVE_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


def _next(ended: Ended) -> BaseException | None:
    while True:
        try:
            return ended.get(timeout=0.5)  # short, so that Ctrl-C is seen
        except queue.Empty:
            continue
