"""Processes of Ray, found by who started them and by what Ray calls them."""

from contextlib import suppress

import psutil


def family(pid: int) -> list[psutil.Process]:
    """All that a process has started, and what those have; nothing where it is gone."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def title(process: psutil.Process) -> str:
    """Such as `ray::Map(augment)` for a worker at that task; nothing where it is gone."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""
