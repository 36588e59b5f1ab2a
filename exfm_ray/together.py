"""Steps that run beside each other in one driver."""

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Ended = queue.SimpleQueue[BaseException | None]


def together(*steps: Callable[[], None]) -> None:
    """Run the steps in threads until all have ended; the first failure is raised at once and the others are left.

    The threads are daemons: a step that waits for another one's work must not keep a failed process alive.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, or the process was asked to end (SIGTERM).
    """
    ended: Ended = queue.SimpleQueue()

    def run(step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    with _interrupts_told(ended):
        for step in steps:
            threading.Thread(target=run, args=(step,), daemon=True).start()
        for _ in steps:
            failure = _next(ended)
            if failure is not None:
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


def _next(ended: Ended) -> BaseException | None:
    while True:
        try:
            return ended.get(timeout=0.5)  # short, so that Ctrl-C is seen
        except queue.Empty:
            continue
