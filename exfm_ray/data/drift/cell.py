"""A cell of the drifting stream: all events of one day, domain and stage."""

import math
from dataclasses import dataclass

import numpy as np

from exfm_ray.config import DriftData
from exfm_ray.data.drift.tables import share_before, time_of_day
from exfm_ray.data.hashing import Draws, Integers


@dataclass(frozen=True)
class Cell:
    """All events of one day, domain and stage, numbered in the order of their times."""

    day: int
    domain: int
    stage: int
    count: int
    first_event_id: int

    def draws(self, config: DriftData, events: Integers) -> Draws:
        """The random quantities of these events of the cell."""
        return Draws.of(events, config.seed, "event", self.day, self.domain, config.stages[self.stage])

    def times(self, draws: Draws, events: Integers) -> Integers:
        """(n,) milliseconds of the day: event i falls into the i-th of `count` equal shares of the day's traffic."""
        return time_of_day((events + draws.uniform("time")) / self.count)

    def first_at(self, config: DriftData, millisecond: int) -> int:
        """The first event at or after a time of the day; `count` where there is none."""
        guess = math.floor(share_before(millisecond) * self.count)
        near = np.arange(max(guess - 3, 0), min(guess + 4, self.count))  # the guess is off by one and by rounding
        before = self.times(self.draws(config, near), near) < millisecond
        return max(guess - 3, 0) + int(np.count_nonzero(before))
