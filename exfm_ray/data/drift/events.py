"""Events of the drifting stream: who saw which ad, what was observed, how likely each feedback was and whether it came.

The probability that a feedback is drawn from is kept beside it as its truth.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exfm_ray.config import DriftData
from exfm_ray.data.drift.cell import Cell
from exfm_ray.data.drift.selection import Fondness, shown_ad, slot_of_rank
from exfm_ray.data.drift.tables import (
    MILLISECONDS_PER_DAY,
    cosine,
    frequency,
    log_uniform,
    normal,
    sigmoid,
    zipf_rank,
)
from exfm_ray.data.drift.world import (
    CATEGORIES,
    CLUSTERS,
    CREATIVES,
    DAYPARTS,
    FACTORS,
    Ads,
    Climate,
    Users,
    climate,
    find_users,
)
from exfm_ray.data.hashing import Draws, Floats, Integers
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, STAGE, delay_column, label_column, truth_column

MILLISECONDS_PER_HOUR = 3_600_000
SERVICE_FEATURES = 2

USER_ZIPF_ROOT = 5
"""Zipf exponent 1 - 1/5 = 0.8."""

HOUR_HEIGHT, HOUR_PEAK = 0.15, 20
SERVICE_WEIGHT, SERVICE_PRODUCT = 0.4, 0.5
FREQUENCY_WEIGHT = 0.15
CLUSTER_ERROR = 0.2
"""Share of events that show a wrong cluster."""


@dataclass(frozen=True)
class Feedback:
    """A task other than click: its logit is base + shared * (click's terms) + terms of its own."""

    base: float
    """beside the recipe's base_logit for like; the whole base for conversion, which is conditional on the click"""
    shared: float


LIKE = Feedback(base=-0.3, shared=0.6)
CONVERSION = Feedback(base=-4.3, shared=0.5)
DELAYS = {"click": (5, 5_400), "like": (5, 1_800), "conversion": (300, 86_400)}
"""Seconds from the event to its feedback, log-uniform between these."""


@dataclass(frozen=True)
class Visits:
    """Users who are there to see an ad. All (n,) but where said."""

    draws: Draws
    users: Users
    user: Integers
    """rows of `users`"""
    hour: Integers
    frequency: Integers
    service: Floats
    """(SERVICE_FEATURES, n)"""

    def only(self, rows: Integers) -> "Visits":
        """Some of them; a row may come more than once."""
        return Visits(
            draws=self.draws.only(rows),
            users=self.users,
            user=self.user.take(rows),
            hour=self.hour.take(rows),
            frequency=self.frequency.take(rows),
            service=self.service.take(rows, axis=1),
        )

    def shown(self, ads: Ads, ad: Integers, liking: Floats) -> "Impressions":
        """An ad each.

        Args:
            ad: rows of `ads`.
            liking: of the ad by the user.
        """
        return Impressions(
            draws=self.draws,
            users=self.users,
            user=self.user,
            hour=self.hour,
            frequency=self.frequency,
            service=self.service,
            ads=ads,
            ad=ad,
            liking=liking,
        )


@dataclass(frozen=True)
class Impressions(Visits):
    """Events before their feedback: rows of the day's tables, and what was seen. All (n,) but where said."""

    ads: Ads
    ad: Integers
    """rows of `ads`"""
    liking: Floats
    """what the user, the category and the ad itself add to the logit"""


def visits(config: DriftData, cell: Cell, draws: Draws, time: Integers) -> Visits:
    """Those of these draws to the cell's domain; time: (n,) milliseconds of the day."""
    rank = zipf_rank(draws.uniform("user"), config.users, USER_ZIPF_ROOT)
    slots = slot_of_rank(rank, config.users, config.seed, "user popularity", cell.domain)
    users, user = find_users(config, cell.day, slots)
    service = draws.words("service")
    return Visits(
        draws=draws,
        users=users,
        user=user,
        hour=time // MILLISECONDS_PER_HOUR,
        frequency=frequency(draws.words("frequency"), users.heavy.take(user)),
        service=np.stack([normal(service, place) for place in range(SERVICE_FEATURES)]),
    )


def impressions(
    config: DriftData, cell: Cell, draws: Draws, time: Integers, fondness: Fondness | None = None
) -> Impressions:
    """The cell's events of these draws; time: (n,) milliseconds of the day."""
    there = visits(config, cell, draws, time)
    affinity = climate(config, cell.day).affinity
    return there.shown(*shown_ad(config, cell, draws, there.users, there.user, affinity, fondness))


def click_terms(seen: Impressions, cell: Cell, today: Climate) -> Floats:
    """(n,) click's logit but for the recipe's base_logit."""
    category = seen.ads.category.take(seen.ad)
    geo = seen.users.geo.take(seen.user)
    daypart = seen.hour // (24 // DAYPARTS)
    device_creative = seen.users.device.take(seen.user) * CREATIVES + seen.ads.creative.take(seen.ad)
    sign = 1.0 if cell.domain % 2 == 0 else -1.0
    first, second = seen.service
    terms = seen.liking + seen.users.bias.take(seen.user)
    terms += today.base[cell.domain]
    terms += (HOUR_HEIGHT * cosine((np.arange(24) - HOUR_PEAK) / 24)).take(seen.hour)
    terms += today.domain_category.take(category + cell.domain * CATEGORIES)
    terms += today.device_creative_daypart.take(device_creative * DAYPARTS + daypart)
    terms += today.geo_category.take(geo * CATEGORIES + category)
    terms += SERVICE_WEIGHT * (sign * first + SERVICE_PRODUCT * first * second)
    terms -= FREQUENCY_WEIGHT * seen.frequency
    return terms


def own_terms(task: str, seen: Impressions, today: Climate) -> Floats:
    """(n,) what a task other than click adds to its logit."""
    pair = seen.users.cluster.take(seen.user) * CATEGORIES + seen.ads.category.take(seen.ad)
    return seen.users.own[task].take(seen.user) + seen.ads.own[task].take(seen.ad) + today.own[task].take(pair)


def outcomes(
    config: DriftData, cell: Cell, seen: Impressions, today: Climate
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Task → (n,) true probabilities and (n,) labels.

    A conversion needs the click: its truth is P(click) * P(conversion | click).
    """
    terms = click_terms(seen, cell, today)
    click = sigmoid(config.base_logit + terms).astype(np.float32)
    clicked = seen.draws.uniform("click") < click
    found = {"click": (click, clicked)}
    if "like" in config.tasks:
        own = own_terms("like", seen, today)
        like = sigmoid(config.base_logit + LIKE.base + LIKE.shared * terms + own).astype(np.float32)
        found["like"] = (like, seen.draws.uniform("like") < like)
    if "conversion" in config.tasks:
        own = own_terms("conversion", seen, today)
        conversion = sigmoid(CONVERSION.base + CONVERSION.shared * terms + own).astype(np.float32)
        found["conversion"] = (click * conversion, clicked & (seen.draws.uniform("conversion") < conversion))
    return {task: found[task] for task in config.tasks}


def delays(task: str, draws: Draws, positive: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(n,) seconds to the feedback, 0 where there is none; a conversion comes after its click."""
    seconds = np.zeros(len(positive), dtype=np.int32)
    rows = np.flatnonzero(positive)
    chosen = draws.only(rows)
    found = log_uniform(chosen.words(f"{task} delay"), *DELAYS[task])
    if task == "conversion":
        found = np.maximum(found, log_uniform(chosen.words("click delay"), *DELAYS["click"]) + 1)
    seconds[rows] = found
    return seconds


def observed_cluster(draws: Draws, cluster: Integers) -> Integers:
    """(n,) the users' clusters as the log has them: one of the others in CLUSTER_ERROR of the events."""
    uniform = draws.uniform("cluster error")
    shift = 1 + (uniform * ((CLUSTERS - 1) / CLUSTER_ERROR)).astype(np.int64)
    return np.where(uniform < CLUSTER_ERROR, (cluster + shift) % CLUSTERS, cluster)


def features(seen: Impressions, cell: Cell) -> dict[str, NDArray[np.generic]]:
    """Feature columns, (n,) each."""
    users, user, ads, ad = seen.users, seen.user, seen.ads, seen.ad
    columns: dict[str, NDArray[np.generic]] = {
        "user_id": users.id.take(user),
        "ad_id": ads.id.take(ad),
        "advertiser_id": ads.advertiser.take(ad),
        "category_id": ads.category.take(ad),
        "cluster_id": observed_cluster(seen.draws, users.cluster.take(user)),
        "geo": users.geo.take(user),
        "age": users.age.take(user),
        "device": users.device.take(user),
        "creative": ads.creative.take(ad),
        "hour": seen.hour,
        "ad_age": ads.age.take(ad),
        "frequency": seen.frequency,
        "service": np.full(len(user), cell.domain, dtype=np.int64),
        "stage_id": np.full(len(user), cell.stage, dtype=np.int64),
    }
    for index in range(SERVICE_FEATURES):
        columns[f"service_feature_{index}"] = seen.service[index].astype(np.float32)
    for k in range(FACTORS):
        columns[f"user_view_{k}"] = users.view[k].take(user)
        columns[f"ad_view_{k}"] = ads.view[k].take(ad)
    return columns


def event_columns(config: DriftData, cell: Cell, first: int, last: int) -> dict[str, NDArray[np.generic]]:
    """Columns of the cell's events first, first + 1 … last - 1, in event-time order; delays are 0 for null."""
    events = np.arange(first, last)
    draws = cell.draws(config, events)
    time = cell.times(draws, events)
    seen = impressions(config, cell, draws, time)
    columns: dict[str, NDArray[np.generic]] = {
        EVENT_ID: cell.first_event_id + events,
        EVENT_TIME: (cell.day - 1) * MILLISECONDS_PER_DAY + time,
        DOMAIN: np.full(len(events), cell.domain, dtype=np.int16),
        STAGE: np.full(len(events), cell.stage, dtype=np.int16),
        **features(seen, cell),
    }
    for task, (truth, label) in outcomes(config, cell, seen, climate(config, cell.day)).items():
        columns[label_column(task)] = label.astype(np.int8)
        columns[delay_column(task)] = delays(task, draws, label)
        columns[truth_column(task)] = truth
    return columns
