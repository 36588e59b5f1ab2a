"""Which ad an event of the drifting stream shows: what the logged production system let through.

The stream is a log, and a log has one policy, whatever the models that are trained on it would have chosen: so every
method is compared on the same rows, and what a method's own cascade would show is computed beside the log.

`best_of`: a stage shows the best of 1, 3 or 8 ads by one noisy score: three distributions of the same traffic, but not
stages of a cascade, since later's 8 are drawn from all ads and not from what early chose, and both choose alike.

`cascade`: stages are nested. Retrieval's rows are ads by popularity, as all that it has to look at. Groups of
RETRIEVAL_GROUP such ads compete by the logged retrieval's score, and the winners are early's rows. EARLY_GROUP
of those compete by the logged early stage's own, less noisy score, and the winner is later's row. So a stage learns
from what the stage before let through, and from nothing that it stopped.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from exfm_ray.config import DriftData
from exfm_ray.data.drift.cell import Cell
from exfm_ray.data.drift.tables import normal, zipf_rank
from exfm_ray.data.drift.world import CATEGORIES, FACTORS, Ads, Users, find_ads
from exfm_ray.data.hashing import Draws, Floats, Integers, fraction, key

CANDIDATES = {"retrieval": 1, "early": 3, "later": 8}
"""Ads that a stage chooses the best of where the selection is best_of."""
SCORE_NOISE_SD = 1.5
RETRIEVAL_GROUP, EARLY_GROUP = 8, 4
"""Ads of which a logged stage lets one through where the selection is a cascade."""
RETRIEVAL_NOISE_SD, EARLY_NOISE_SD = 2.0, 1.0
"""Of the logged stages' scores, beside a liking whose standard deviation is 1.4."""
AD_ZIPF_ROOT = 10
"""Zipf exponent 1 - 1/10 = 0.9."""
CANDIDATE_BITS = 32
"""Leading bits of a candidate's word that choose the ad."""
GOLDEN_SECTION = 0.618
"""Popularity ranks lie this share of all slots apart, so that neighbours in rank are none in slot."""

Fondness = Callable[[Integers, Integers], Floats]
"""(users' ids, ads' categories) → (n,) what else is in their liking"""
Entrant = tuple[Integers, Floats]
"""rows of the ad table (n,), their liking (n,)"""
Scored = tuple[Entrant, Floats]
"""beside them standard normals (n,), the noise of a stage's score"""


@dataclass(frozen=True)
class Taste:
    """What users like, to be met with ads. All (n,)."""

    factors: Sequence[Floats]
    cluster: Integers
    """where the cluster's row begins in `affinity`"""
    affinity: Floats
    """of the day, (CLUSTERS * CATEGORIES,)"""
    fond_users: Integers
    fondness: Fondness | None

    @classmethod
    def of(cls, users: Users, user: Integers, affinity: Floats, fondness: Fondness | None = None) -> "Taste":
        """Of the users in these rows of the table."""
        factors = [users.factors[k].take(user) * (1 / math.sqrt(FACTORS)) for k in range(FACTORS)]
        return cls(factors, users.cluster.take(user) * CATEGORIES, affinity, users.id.take(user), fondness)

    def liking(self, ads: Ads, ad: Integers) -> Floats:
        """(n,) what each user, the ad's category and the ad itself add to the logit; ad: (n,) rows of the table."""
        category = ads.category.take(ad)
        liking = ads.quality.take(ad) + self.affinity.take(self.cluster + category)
        for k in range(FACTORS):
            liking += self.factors[k] * ads.factors[k].take(ad)
        if self.fondness is not None:
            liking += self.fondness(self.fond_users, category)
        return liking


def slot_of_rank(rank: Integers, count: int, *kind: int | str) -> Integers:
    """Where the entity of a popularity rank lives: a bijection of [0, count) that `kind` (seed, domain) rotates."""
    step = max(int(count * GOLDEN_SECTION), 1)
    while math.gcd(step, count) > 1:
        step += 1
    place = rank * step + int(key(*kind)) % count
    return place - place // count * count  # numpy divides by a scalar faster than it takes remainders


def shown_ad(
    config: DriftData,
    cell: Cell,
    draws: Draws,
    users: Users,
    user: Integers,
    affinity: Floats,
    fondness: Fondness | None = None,
) -> tuple[Ads, Integers, Floats]:
    """The ad table, each event's row in it (n,) and its liking (n,): what the logged policy let this stage show."""
    words = [draws.words("candidate", index) for index in range(candidates_of(config, cell))]
    slots = np.empty((len(words), len(user)), dtype=np.int64)
    for index, word in enumerate(words):
        rank = zipf_rank(fraction(word, CANDIDATE_BITS), config.ads, AD_ZIPF_ROOT)
        slots[index] = slot_of_rank(rank, config.ads, config.seed, "ad popularity", cell.domain)
    ads, rows = find_ads(config, cell.day, slots)
    taste = Taste.of(users, user, affinity, fondness)
    noises = (normal(word << np.uint64(CANDIDATE_BITS)) for word in words)
    entrants = (((row, taste.liking(ads, row)), noise) for row, noise in zip(rows, noises, strict=True))
    if config.selection == "best_of":
        return ads, *winner(entrants, SCORE_NOISE_SD)
    retrieved = winners(entrants, RETRIEVAL_NOISE_SD, RETRIEVAL_GROUP)
    scored = ((entrant, normal(draws.words("early score", index))) for index, entrant in enumerate(retrieved))
    return ads, *winner(scored, EARLY_NOISE_SD)


def candidates_of(config: DriftData, cell: Cell) -> int:
    """Ads that an event of the cell is the winner of."""
    stage = config.stages[cell.stage]
    if config.selection == "best_of":
        return CANDIDATES[stage]
    return {"retrieval": 1, "early": RETRIEVAL_GROUP, "later": RETRIEVAL_GROUP * EARLY_GROUP}[stage]


def winners(entrants: Iterator[Scored], noise_sd: float, group: int) -> Iterator[Entrant]:
    """The winner of each `group` of entrants that follow each other."""
    while members := list(islice(entrants, group)):
        yield winner(members, noise_sd)


def winner(entrants: Iterable[Scored], noise_sd: float) -> Entrant:
    """Event by event the entrant with the highest score, its liking + noise_sd * noise; the first of equal ones."""
    scored = ((row, liking, liking + noise_sd * noise) for (row, liking), noise in entrants)
    best, best_liking, best_score = next(scored)
    for row, liking, score in scored:
        better = score > best_score
        best = np.where(better, row, best)
        best_liking = np.where(better, liking, best_liking)
        best_score = np.maximum(best_score, score)
    return best, best_liking
