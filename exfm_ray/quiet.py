"""What Ray and its libraries say goes into a file, so that the terminal stays the user's."""

import logging
import os
from pathlib import Path

QUIET_LOGGERS = ("ray", "ray.data", "ray.serve", "ray.train", "ray.tune", "asyncio", "py.warnings")


def quieten(logs: Path) -> None:
    """Call this before Ray is imported; its loggers are set up anew then by none but us.

    Args:
        logs: directory of `driver.log`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    logs.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(logs / "driver.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    for name in QUIET_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
