"""Steps that run beside each other in one driver."""

import queue
import threading
from collections.abc import Callable


def together(*steps: Callable[[], None]) -> None:
    """Run the steps in threads until all have ended; the first failure is raised at once and the others are left.

    The threads are daemons: a step that waits for another one's work must not keep a failed process alive.
    """
    ended: queue.Queue[BaseException | None] = queue.Queue()

    def run(step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    for step in steps:
        threading.Thread(target=run, args=(step,), daemon=True).start()
    for _ in steps:
        failure = _next(ended)
        if failure is not None:
            raise failure


def _next(ended: "queue.Queue[BaseException | None]") -> BaseException | None:
    while True:
        try:
            return ended.get(timeout=0.5)  # short, so that Ctrl-C is seen
        except queue.Empty:
            continue
