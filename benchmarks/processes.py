"""What a process and all that it started use: CPU seconds by kind of process, and memory."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

SAMPLE_SECONDS = 0.5


@dataclass
class Usage:
    """Of one round."""

    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """by kind of process"""
    peak_bytes: int = 0
    """memory of all processes together; what several share counts once (PSS)"""

    @property
    def all_cpu_seconds(self) -> float:
        return sum(self.cpu_seconds.values())


@contextmanager
def watching(root: int, kind_of: Callable[[psutil.Process], str]) -> Iterator[Usage]:
    """Sample a process tree for the time of the block; the usage is complete when the block has ended.

    What a process that ends between two samples used after the earlier one is missed.
    """
    usage, done = Usage(), threading.Event()
    before = _cpu_seconds_of_tree(root)
    last = dict(before)
    kinds: dict[int, str] = {}

    def sample() -> None:
        for process in _tree(root):
            with suppress(psutil.Error):
                last[process.pid] = _cpu_seconds(process)
                kinds[process.pid] = kind_of(process)

    def sample_until_done() -> None:
        while not done.wait(SAMPLE_SECONDS):
            sample()
            usage.peak_bytes = max(usage.peak_bytes, sum(map(_memory, _tree(root))))

    thread = threading.Thread(target=sample_until_done, daemon=True)
    thread.start()
    try:
        yield usage
    finally:
        done.set()
        thread.join()
        sample()
        usage.peak_bytes = max(usage.peak_bytes, sum(map(_memory, _tree(root))))
        by_kind: dict[str, float] = defaultdict(float)
        for process_id, seconds in last.items():
            by_kind[kinds.get(process_id, "ended")] += seconds - before.get(process_id, 0.0)
        usage.cpu_seconds = dict(by_kind)


def _tree(root: int) -> list[psutil.Process]:
    parent = psutil.Process(root)
    return [parent, *parent.children(recursive=True)]


def _cpu_seconds_of_tree(root: int) -> dict[int, float]:
    found = {}
    for process in _tree(root):
        with suppress(psutil.Error):
            found[process.pid] = _cpu_seconds(process)
    return found


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0
