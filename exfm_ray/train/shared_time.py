"""How long each of several things took that were made at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from exfm_ray.data.commit import Stopwatch


class SharedTime:
    """Divides the time of a piece of work that serves several things: to each its own, and an equal part of the rest.

    The parts add up to the time on the clock, and to the process's CPU seconds. On a GPU, a thing's own time is that
    until its work is handed over; what is waited for later counts as shared by all.

    Args:
        things: how many.
    """

    def __init__(self, things: int) -> None:
        self._started, self._cpu_started = time.time(), time.process_time()
        self._own, self._own_cpu = [0.0] * things, [0.0] * things

    @contextmanager
    def spent_on(self, *things: int) -> Iterator[None]:
        """What happens in the block serves these alone, all alike."""
        started, cpu_started = time.perf_counter(), time.process_time()
        yield
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        for thing in things:
            self._own[thing] += seconds / len(things)
            self._own_cpu[thing] += cpu_seconds / len(things)

    def stopwatches(self) -> Iterator[Stopwatch]:
        """One per thing, in order, to be used up before the next is asked for: what it is used in is the thing's own.

        They are said to have been made one after the other, so that their times fill that of the whole.
        """
        share = (time.time() - self._started - sum(self._own)) / len(self._own)
        cpu_share = (time.process_time() - self._cpu_started - sum(self._own_cpu)) / len(self._own)
        place = self._started
        for own, own_cpu in zip(self._own, self._own_cpu, strict=True):
            seconds, now = own + share, time.time()
            cpu_before = time.process_time() - own_cpu - cpu_share
            yield Stopwatch(place, now - place - seconds, time.process_time, cpu_before)
            place += seconds + time.time() - now
