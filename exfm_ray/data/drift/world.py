"""Who and what is in the drifting stream on a day: users, ads, and how much they take to each other.

Every number is a hash of (seed, name, entity), so any day of any entity is made alone. Users and ads live in
slots: a slot holds an entity for a hashed lifetime and then another, so that they join and leave every day.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from exfm_ray.config import DriftData
from exfm_ray.data.drift.tables import cosine, drifting, log_uniform, normals
from exfm_ray.data.hashing import Draws, Floats, Integers

FACTORS = 8
"""Width of the hidden taste of a user and of the hidden character of an ad."""
CLUSTERS, CATEGORIES, GEOS, AGES, DEVICES, CREATIVES, DAYPARTS = 24, 24, 32, 8, 5, 8, 4
ADS_PER_ADVERTISER = 4
HEAVY_SHARE = 5
"""One user in this many sees many impressions."""

USER_LIFE, AD_LIFE = (20, 90), (3, 14)
"""Days, the shortest and the longest."""
USER_MEMORY, AD_MEMORY, AFFINITY_MEMORY, DOMAIN_MEMORY = 20.0, 6.0, 5.0, 4.0
"""Days over which a drifting quantity forgets itself."""
FACTOR_WAVES, AFFINITY_WAVES, DOMAIN_WAVES = 3, 8, 16

CENTRE_SHARE, USER_OWN_SHARE = 0.4, 0.6
"""Variance of a user's factors: the cluster's, its own."""
ADVERTISER_SHARE, AD_OWN_SHARE = 0.3, 0.3
"""Variance of an ad's factors beside its category's CENTRE_SHARE: the advertiser's, its own."""
USER_DRIFT, AD_DRIFT, AFFINITY_DRIFT = 0.5, 0.5, 0.6
"""Share of the variance that drifts; the rest is constant."""

USER_SD, AD_SD, AFFINITY_SD = 0.5, 0.5, 0.8
DOMAIN_SD, DOMAIN_CATEGORY_SD, DAYPART_SD, GEO_CATEGORY_SD = 0.10, 0.5, 0.5, 0.3
WEEKDAY_HEIGHT = 0.1
DOMAIN_BIAS = (0.5, -0.6)
"""Of the first and the last domain; those between are spread evenly, and a single one has 0."""
VIEW_NOISE_SD = 1.0
OWN_USER_SD, OWN_AD_SD, OWN_AFFINITY_SD = 0.4, 0.4, 0.5
"""What a task other than click has for itself."""

WHOLE_TABLE_SLOTS = 262_144
"""Above it, a process makes only the entities that it meets, instead of keeping all of a day (some 170 bytes each)."""


@dataclass(frozen=True)
class Users:
    """Users of a day, (n,) each unless said otherwise."""

    id: Integers
    cluster: Integers
    geo: Integers
    age: Integers
    device: Integers
    heavy: Integers
    """1 for those who see many impressions, else 0"""
    bias: Floats
    factors: Floats
    """(FACTORS, n)"""
    view: NDArray[np.float32]
    """(FACTORS, n): the factors under noise that is drawn anew each day"""
    own: dict[str, Floats]
    """task → bias of its own"""


@dataclass(frozen=True)
class Ads:
    """Ads of a day, (n,) each unless said otherwise."""

    id: Integers
    age: Integers
    """days since the ad joined"""
    advertiser: Integers
    category: Integers
    creative: Integers
    quality: Floats
    factors: Floats
    """(FACTORS, n)"""
    view: NDArray[np.float32]
    """(FACTORS, n): the factors under noise that is drawn anew each day"""
    own: dict[str, Floats]
    """task → quality of its own"""


@dataclass(frozen=True)
class Climate:
    """What a day's logits take from no single user or ad; products of several fields are flattened."""

    base: Floats
    """(domains,): bias of the domain and of the weekday"""
    affinity: Floats
    """(CLUSTERS * CATEGORIES,)"""
    domain_category: Floats
    """(domains * CATEGORIES,)"""
    device_creative_daypart: Floats
    """(DEVICES * CREATIVES * DAYPARTS,)"""
    geo_category: Floats
    """(GEOS * CATEGORIES,)"""
    own: dict[str, Floats]
    """task → affinity of its own, (CLUSTERS * CATEGORIES,)"""


def own_tasks(config: DriftData) -> list[str]:
    """Tasks with terms of their own, which are all but click."""
    return [task for task in config.tasks if task != "click"]


def living(slots: Integers, day: int, life: tuple[int, int], count: int, *kind: int | str) -> tuple[Integers, Integers]:
    """Who lives in the slots of a kind on a day: (n,) entity ids, unique over all days, and (n,) ages in days."""
    draws = Draws.of(slots, *kind)
    days = log_uniform(draws.words("life"), *life)
    lived = day + (draws.uniform("phase") * days).astype(np.int64)
    generation = lived // days
    return generation * count + slots, lived - generation * days


def _blend(static: Floats, drift: Floats, drift_share: float) -> Floats:
    return math.sqrt(1 - drift_share) * static + math.sqrt(drift_share) * drift


def _centres(seed: int, kind: str, count: int) -> Floats:
    return normals(Draws.of(np.arange(count), seed, kind), "centre", FACTORS)


def _viewed(factors: Floats, ids: Integers, *kind: int | str) -> NDArray[np.float32]:
    return (factors + VIEW_NOISE_SD * normals(Draws.of(ids, *kind), "view", FACTORS)).astype(np.float32)


def users_in(config: DriftData, day: int, slots: Integers) -> Users:
    """The users in these slots; slots: (n,) in [0, config.users)."""
    ids, _ = living(slots, day, USER_LIFE, config.users, config.seed, "user slot")
    draws = Draws.of(ids, config.seed, "user")
    cluster = draws.below("cluster", CLUSTERS)
    drift = drifting(draws, "drift", FACTORS, day, USER_MEMORY, FACTOR_WAVES)
    own_part = _blend(normals(draws, "static", FACTORS), drift, USER_DRIFT)
    centre = _centres(config.seed, "cluster", CLUSTERS)[:, cluster]
    factors = math.sqrt(CENTRE_SHARE) * centre + math.sqrt(USER_OWN_SHARE) * own_part
    return Users(
        id=ids,
        cluster=cluster,
        geo=draws.below("geo", GEOS),
        age=draws.below("age", AGES),
        device=draws.below("device", DEVICES),
        heavy=(draws.below("heavy", HEAVY_SHARE) == 0).astype(np.int64),
        bias=USER_SD * normals(draws, "bias", 1)[0],
        factors=factors,
        view=_viewed(factors, ids, config.seed, "user", day),
        own={task: OWN_USER_SD * normals(draws, f"{task} bias", 1)[0] for task in own_tasks(config)},
    )


def ads_in(config: DriftData, day: int, slots: Integers) -> Ads:
    """The ads in these slots; slots: (n,) in [0, config.ads)."""
    ids, age = living(slots, day, AD_LIFE, config.ads, config.seed, "ad slot")
    draws = Draws.of(ids, config.seed, "ad")
    advertiser = slots // ADS_PER_ADVERTISER
    advertisers = Draws.of(advertiser, config.seed, "advertiser")
    category = advertisers.below("category", CATEGORIES)
    drift = drifting(draws, "drift", FACTORS, day, AD_MEMORY, FACTOR_WAVES)
    factors = math.sqrt(CENTRE_SHARE) * _centres(config.seed, "category", CATEGORIES)[:, category]
    factors += math.sqrt(ADVERTISER_SHARE) * normals(advertisers, "static", FACTORS)
    factors += math.sqrt(AD_OWN_SHARE) * _blend(normals(draws, "static", FACTORS), drift, AD_DRIFT)

    def quality(name: str) -> Floats:
        return _blend(
            normals(draws, name, 1)[0], drifting(draws, f"{name} drift", 1, day, AD_MEMORY, FACTOR_WAVES)[0], AD_DRIFT
        )

    return Ads(
        id=ids,
        age=age,
        advertiser=advertiser,
        category=category,
        creative=draws.below("creative", CREATIVES),
        quality=AD_SD * quality("quality"),
        factors=factors,
        view=_viewed(factors, ids, config.seed, "ad", day),
        own={task: OWN_AD_SD * quality(f"{task} quality") for task in own_tasks(config)},
    )


def domain_bias(domains: int) -> Floats:
    """(domains,) constant part of the domains' logits."""
    first, last = DOMAIN_BIAS
    steps = max(domains - 1, 1)
    return np.array([first + (last - first) * domain / steps if domains > 1 else 0.0 for domain in range(domains)])


@lru_cache(maxsize=4)
def climate(config: DriftData, day: int) -> Climate:
    """The day's common terms; kept for the last few days."""

    def constant(name: str, count: int, sd: float) -> Floats:
        static: Floats = normals(Draws.of(np.arange(count), config.seed, name), "static", 1)[0]
        return sd * static

    def affinity(name: str, sd: float) -> Floats:
        draws = Draws.of(np.arange(CLUSTERS * CATEGORIES), config.seed, name)
        drift = drifting(draws, "drift", 1, day, AFFINITY_MEMORY, AFFINITY_WAVES)[0]
        return sd * _blend(normals(draws, "static", 1)[0], drift, AFFINITY_DRIFT)

    domains = Draws.of(np.arange(config.domains), config.seed, "domain")
    weekday = WEEKDAY_HEIGHT * cosine(np.array([day % 7 / 7]))
    domain_drift = DOMAIN_SD * drifting(domains, "drift", 1, day, DOMAIN_MEMORY, DOMAIN_WAVES)[0]
    return Climate(
        base=domain_bias(config.domains) + domain_drift + weekday,
        affinity=affinity("affinity", AFFINITY_SD),
        domain_category=constant("domain category", config.domains * CATEGORIES, DOMAIN_CATEGORY_SD),
        device_creative_daypart=constant("device creative daypart", DEVICES * CREATIVES * DAYPARTS, DAYPART_SD),
        geo_category=constant("geo category", GEOS * CATEGORIES, GEO_CATEGORY_SD),
        own={task: affinity(f"{task} affinity", OWN_AFFINITY_SD) for task in own_tasks(config)},
    )


@lru_cache(maxsize=2)
def _all_users(config: DriftData, day: int) -> Users:
    return users_in(config, day, np.arange(config.users))


@lru_cache(maxsize=2)
def _all_ads(config: DriftData, day: int) -> Ads:
    return ads_in(config, day, np.arange(config.ads))


def find_users(config: DriftData, day: int, slots: Integers) -> tuple[Users, Integers]:
    """A table that holds the users in these slots, and their rows in it, shaped as `slots`."""
    if config.users <= WHOLE_TABLE_SLOTS:
        return _all_users(config, day), slots
    distinct, rows = np.unique(slots, return_inverse=True)
    return users_in(config, day, distinct), rows.reshape(slots.shape)


def find_ads(config: DriftData, day: int, slots: Integers) -> tuple[Ads, Integers]:
    """A table that holds the ads in these slots, and their rows in it, shaped as `slots`."""
    if config.ads <= WHOLE_TABLE_SLOTS:
        return _all_ads(config, day), slots
    distinct, rows = np.unique(slots, return_inverse=True)
    return ads_in(config, day, distinct), rows.reshape(slots.shape)
