"""What Ray and its libraries say goes into a file, so that the terminal stays the user's."""

import importlib
import logging
import os
from pathlib import Path

QUIET_LOGGERS = ("ray", "ray.data", "ray.serve", "ray.train", "ray.tune", "asyncio", "kazoo", "py.warnings")
LIBRARIES = ("ray", "ray.data", "ray.serve", "ray.train")


def quieten(logs: Path) -> None:
    """Send the log lines of Ray and its like in this process to `driver.log`.

    Args:
        logs: directory of the file.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    for library in LIBRARIES:  # importing one sets up its loggers, which must have happened before they are taken over
        importlib.import_module(library)
    logs.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(logs / "driver.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    for name in QUIET_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
