"""A process that is asked for its work line by line, and what a process and all that it started use."""

import subprocess
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

SAMPLE_SECONDS = 2.0
END_SECONDS = 120


class AskedProcess:
    """A process that reads what to do from its standard input and answers each line with one of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """
        Args:
            environment: its variables; those of this process where it is left out.
        """
        self._command, self._errors = command, tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=None if environment is None else dict(environment),
        )

    @property
    def process_id(self) -> int:
        return self._process.pid

    def ask(self, what: str) -> str:
        """The answer to one line.

        Raises:
            RuntimeError: the process ended; its last words are told.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self.read()

    def read(self) -> str:
        """Its next line, as `ask` tells it."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"{' '.join(self._command)[:200]} ended with {code}: {self._errors.read()[-2_000:]}")
        return line

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=END_SECONDS)
        finally:
            self._process.kill()
            self._errors.close()


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
