"""How long each of several things took that were made at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from exfm_ray.data.commit import Stopwatch


class SharedTime:
    """Divides the time of a piece of work that serves several things: to each its own, and an equal part of the rest.

    The parts add up to the time on the clock. On a GPU, a thing's own time is that until its work is handed over; what
    is waited for later counts as shared by all.

    Args:
        things: how many.
    """

    def __init__(self, things: int) -> None:
        self._started = time.time()
        self._own = [0.0] * things

    @contextmanager
    def spent_on(self, thing: int) -> Iterator[None]:
        """What happens in the block serves this one alone."""
        started = time.perf_counter()
        yield
        self._own[thing] += time.perf_counter() - started

    def stopwatches(self) -> Iterator[Stopwatch]:
        """One per thing, in order, to be used up before the next is asked for: what it is used in is the thing's own.

        They are said to have been made one after the other, so that their times fill that of the whole.
        """
        common = time.time() - self._started - sum(self._own)
        place = self._started
        for own in self._own:
            seconds, now = own + common / len(self._own), time.time()
            yield Stopwatch(place, elsewhere=now - place - seconds)
            place += seconds + time.time() - now
