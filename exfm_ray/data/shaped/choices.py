"""What users of the drifting world chose, day by day: the log that histories of a shaped stream are taken from.

A choice is a hash of (user, day, number of the choice), so the log is the same whatever event it is asked for. It
knows the user's taste and the items of its own day, and nothing of labels.
"""

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from exfm_ray.config import DriftData
from exfm_ray.data.drift.cell import Cell
from exfm_ray.data.drift.selection import shown_ad
from exfm_ray.data.drift.tables import MILLISECONDS_PER_DAY, MOST_SEEN, frequency, time_of_day
from exfm_ray.data.drift.world import CATEGORIES, WHOLE_TABLE_SLOTS, Ads, climate, find_users
from exfm_ray.data.hashing import Draws, Floats, Integers, Words
from exfm_ray.data.logs.history import Histories

FAVOURITES = 0.125
"""Share of all categories that are favourites of a user."""
FONDNESS = 3.0
"""What a favourite category adds to a user's liking of an item: what histories tell."""
KEPT_DAYS = 64
"""Days of choices of a whole world that a process keeps."""


@dataclass(frozen=True)
class Items:
    """What was shown or chosen, (n,) each."""

    id: Integers
    advertiser: Integers
    category: Integers

    @classmethod
    def of(cls, ads: Ads, rows: Integers) -> "Items":
        """Items of rows of a day's table."""
        return cls(ads.id.take(rows), ads.advertiser.take(rows), ads.category.take(rows))

    def take(self, places: Integers) -> "Items":
        return Items(self.id.take(places), self.advertiser.take(places), self.category.take(places))


@dataclass(frozen=True)
class Choices:
    """Items that users met beside the events, in no order; (n,) each."""

    users: Integers
    """ids"""
    times: Integers
    """milliseconds of the drifting world"""
    items: Items
    words: Words
    """64 random bits of the choice's own"""


@dataclass(frozen=True)
class ChoiceLog:
    """The choices of some days, found by user and time."""

    choices: Choices
    histories: Histories
    """of places in `choices`"""

    def before(self, users: Integers, times: Integers, length: int) -> tuple[np.ndarray, Items, Words]:
        """Each user's last choices strictly before a time, oldest first.

        Args:
            users, times: (B,) ids, and milliseconds of the drifting world.
            length: at most so many per event.

        Returns:
            offsets (B + 1,), and the items and words (M,) between them.
        """
        offsets, places = self.histories.before(users, times, length)
        return offsets, self.choices.items.take(places), self.choices.words.take(places)


def fondness(world: DriftData, users: Integers, categories: Integers) -> Floats:
    """(n,) what it adds to the liking that a category is one of the user's favourites, which never change."""
    pairs = Draws.of(users * CATEGORIES + categories, world.seed, "favourite")
    return np.where(pairs.uniform("is") < FAVOURITES, FONDNESS, 0.0)


def choices_of_day(world: DriftData, stage: int, day: int, slots: Integers) -> Choices:
    """What the users in these slots met on a day.

    Args:
        stage: place in the world's stages: how much taste has to do with it.
        day: of the drifting world.
        slots: (n,) distinct.
    """
    users, rows = find_users(world, day, slots)
    ids = users.id.take(rows)
    kind = world.stages[stage]
    counts = frequency(Draws.of(ids, world.seed, "choices", day, kind).words("count"), users.heavy.take(rows))
    place = np.repeat(np.arange(len(rows)), counts)
    number = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    draws = Draws.of(ids.take(place) * MOST_SEEN + number, world.seed, "choice", day, kind)
    cell = Cell(day=day, domain=0, stage=stage, count=len(place), first_event_id=0)
    affinity = climate(world, day).affinity
    ads, ad, _ = shown_ad(world, cell, draws, users, rows.take(place), affinity, partial(fondness, world))
    return Choices(
        users=ids.take(place),
        times=(day - 1) * MILLISECONDS_PER_DAY + time_of_day(draws.uniform("time")),
        items=Items.of(ads, ad),
        words=draws.words("own"),
    )


def choice_log(world: DriftData, stage: int, day: int, days: int, slots: Integers) -> ChoiceLog:
    """What the users who are in these slots on a day may have met in the `days` days before it and on it."""
    if world.users <= WHOLE_TABLE_SLOTS:
        return _whole_log(world, stage, day, days)
    distinct = np.unique(slots)
    return _log([choices_of_day(world, stage, past, distinct) for past in range(day - days, day + 1)])


@lru_cache(maxsize=KEPT_DAYS)
def _whole_day(world: DriftData, stage: int, day: int) -> Choices:
    return choices_of_day(world, stage, day, np.arange(world.users))


@lru_cache(maxsize=4)
def _whole_log(world: DriftData, stage: int, day: int, days: int) -> ChoiceLog:
    return _log([_whole_day(world, stage, past) for past in range(day - days, day + 1)])


def _log(days: list[Choices]) -> ChoiceLog:
    def joined(name: str, of: str = "") -> Integers:
        columns = [getattr(getattr(day, of) if of else day, name) for day in days]
        return np.concatenate(columns)

    items = Items(joined("id", "items"), joined("advertiser", "items"), joined("category", "items"))
    choices = Choices(joined("users"), joined("times"), items, np.concatenate([day.words for day in days]))
    places = np.arange(len(choices.users))
    return ChoiceLog(choices, Histories.of(choices.users, choices.times, places))
