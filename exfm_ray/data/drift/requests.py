"""Requests of a day of the drifting stream, each of which any of the day's ads may answer, with the truth of them all.

They are drawn as the log's events are, but under a name of their own: none is an event that a model was trained on.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from exfm_ray.config import DriftData
from exfm_ray.data.drift.cell import Cell
from exfm_ray.data.drift.events import Impressions, Visits, click_terms, features, visits
from exfm_ray.data.drift.selection import Taste
from exfm_ray.data.drift.tables import sigmoid, time_of_day
from exfm_ray.data.drift.world import Ads, climate, find_ads
from exfm_ray.data.hashing import Draws, Floats, Integers

AD_FEATURES = ("ad_id", "advertiser_id", "category_id", "creative", "ad_age")
"""What a VM reads of an ad; all else that it reads is of the request."""


@dataclass(frozen=True)
class Requests:
    """Requests to one domain on one day, and the ads that may answer each of them, the same for all.

    Below, requests and candidates are given by their numbers, in pairs: two (n,) arrays.
    """

    config: DriftData
    day: int
    domain: int
    count: int
    candidates: int

    @cached_property
    def _cell(self) -> Cell:
        stage = self.config.stages.index("retrieval")  # which every candidate has still before it
        return Cell(day=self.day, domain=self.domain, stage=stage, count=self.count, first_event_id=0)

    @cached_property
    def visits(self) -> Visits:
        numbers = np.arange(self.count)
        draws = Draws.of(numbers, self.config.seed, "request", self.day, self.domain)
        return visits(self.config, self._cell, draws, time_of_day((numbers + draws.uniform("time")) / self.count))

    @cached_property
    def _ads(self) -> tuple[Ads, Integers]:
        """The day's ads and which of them are candidates: all, or those that a hash chooses."""
        slots = np.arange(self.config.ads)
        if self.candidates < self.config.ads:
            words = Draws.of(slots, self.config.seed, "candidate slot", self.domain).words("order", self.day)
            slots = np.sort(np.argsort(words, kind="stable")[: self.candidates])
        return find_ads(self.config, self.day, slots)

    def features(self, requests: Integers, candidates: Integers) -> pa.Table:
        """What the log would show of these pairs: every feature of the stream as a column."""
        return pa.table(features(self._pairs(requests, candidates), self._cell))

    def truth(self, requests: Integers, candidates: Integers) -> Floats:
        """(n,) true click probabilities."""
        pairs = self._pairs(requests, candidates)
        return sigmoid(self.config.base_logit + click_terms(pairs, self._cell, climate(self.config, self.day)))

    def _pairs(self, requests: Integers, candidates: Integers) -> Impressions:
        ads, rows = self._ads
        there, ad = self.visits.only(requests), rows.take(candidates)
        taste = Taste.of(there.users, there.user, climate(self.config, self.day).affinity)
        return there.shown(ads, ad, taste.liking(ads, ad))
