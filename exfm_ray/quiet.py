"""What Ray and its libraries say goes into a file, so that the terminal stays the user's."""

import importlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUIET_LOGGERS = ("ray", "ray.data", "ray.serve", "ray.train", "ray.tune", "asyncio", "kazoo", "py.warnings")
LIBRARIES = ("ray", "ray.data", "ray.serve", "ray.train")


def quieten(logs: Path) -> None:
    """Send the log lines of Ray and its like in this process to `driver.log`.

    Args:
        logs: directory of the file.
    """
    _hush()
    _load()  # importing a library sets up its loggers, which must have happened before they are taken over
    _take_over(logs)


@contextmanager
def loading_beside(logs: Path) -> Iterator[None]:
    """Import Ray's libraries, which takes seconds, while the block waits for Ray's processes; `quieten` comes after it.

    Args:
        logs: as `quieten` takes it.
    """
    _hush()
    importlib.import_module("ray")  # whole, before two threads use it
    _take_over(logs)
    thread = threading.Thread(target=_load, name="imports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _hush() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")


def _load() -> None:
    for library in LIBRARIES:
        importlib.import_module(library)


def _take_over(logs: Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(logs / "driver.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    for name in QUIET_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
