"""What a process and all that it started use: CPU seconds by kind of process, and memory."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

SAMPLE_SECONDS = 2.0


@dataclass
class Usage:
    """Of one round."""

    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """by kind of process"""
    peak_bytes: dict[str, int] = field(default_factory=dict)
    """by kind of process, when all together had most; memory that several share counts once (PSS)"""

    @property
    def all_cpu_seconds(self) -> float:
        return sum(self.cpu_seconds.values())

    @property
    def all_peak_bytes(self) -> int:
        return sum(self.peak_bytes.values())


class _Watch:
    """Samples of a process tree."""

    def __init__(self, root: int, kind_of: Callable[[psutil.Process], str]) -> None:
        self._root, self._kind_of = root, kind_of
        self._first: dict[int, float] = {}
        self._last: dict[int, tuple[str, float]] = {}
        self._peak: dict[str, int] = {}
        for process in self._tree():
            with suppress(psutil.Error):
                self._first[process.pid] = _cpu_seconds(process)

    def sample(self) -> None:
        memory: Counter[str] = Counter()
        for process in self._tree():
            with suppress(psutil.Error):
                kind = self._kind_of(process)
                self._last[process.pid] = (kind, _cpu_seconds(process))
                memory[kind] += process.memory_full_info().pss
        if sum(memory.values()) > sum(self._peak.values()):
            self._peak = dict(memory)

    def usage(self) -> Usage:
        seconds: dict[str, float] = defaultdict(float)
        for process_id, (kind, last) in self._last.items():
            seconds[kind] += last - self._first.get(process_id, 0.0)
        return Usage(dict(seconds), self._peak)

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self._root)
        return [root, *root.children(recursive=True)]


@contextmanager
def watching(root: int, kind_of: Callable[[psutil.Process], str]) -> Iterator[Callable[[], Usage]]:
    """Sample a process tree for the time of the block; what is yielded tells the usage when the block has ended.

    What a process that ends between two samples used after the earlier one is missed.
    """
    watch, done = _Watch(root, kind_of), threading.Event()

    def sample_until_done() -> None:
        while not done.wait(SAMPLE_SECONDS):
            watch.sample()

    thread = threading.Thread(target=sample_until_done, daemon=True)
    thread.start()
    try:
        yield watch.usage
    finally:
        done.set()
        thread.join()
        watch.sample()


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
