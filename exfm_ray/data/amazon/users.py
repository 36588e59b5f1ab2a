"""The DIN scheme on users' reviews: positives, sampled negatives and histories (Zhou et al., KDD 2018). Pure functions.

Of a user's reviews in order of time, each but the first is a positive event, and a negative event of the same time
and history is made with an item that is drawn at random.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from exfm_ray.data.hashing import Draws
from exfm_ray.data.logs.distinct_rows import distinct_rows

Integers = NDArray[np.int64]

MOST_DRAWS = 100
"""A user who has reviewed so much of what there is that none of so many draws is allowed gets no negative."""


@dataclass(frozen=True)
class Reviews:
    """Reviews ordered by user, then time, then place in the file."""

    users: Integers
    items: Integers
    times: Integers
    positions: Integers
    """from 0 within each user"""
    duplicates: int = 0
    """exact copies that were dropped"""

    @classmethod
    def of(cls, users: Integers, items: Integers, times: Integers) -> "Reviews":
        """Reviews of whole users, given in file order; of exact copies the first stays."""
        kept = distinct_rows(items, times, users)
        duplicates = len(users) - len(kept)
        kept = kept[np.lexsort((kept, times[kept], users[kept]))]
        users = users[kept]
        begins = np.flatnonzero(np.append(True, users[1:] != users[:-1])[: len(users)])
        positions = np.arange(len(users)) - np.repeat(begins, np.diff(np.append(begins, len(users))))
        return cls(users, items[kept], times[kept], positions, duplicates)


@dataclass(frozen=True)
class Catalogue:
    """All reviewed items, by their first review."""

    items: Integers
    """(C,) ordered by `first_times`, then by themselves"""
    first_times: Integers
    """(C,) ascending"""
    categories: Integers
    """(C,)"""

    def categories_of(self, items: Integers) -> Integers:
        """(B,) categories of items that are all in it."""
        order = np.argsort(self.items)
        return self.categories[order[np.searchsorted(self.items, items, sorter=order)]]


@dataclass(frozen=True)
class Events:
    """Positives and negatives, in no particular order."""

    reviews: Integers
    """(N,) the review that gives time, user and position"""
    items: Integers
    labels: Integers
    begins: Integers
    """(N,) the history is the items of the reviews from here …"""
    ends: Integers
    """(N,) … to before here"""
    without_negative: int


def din_events(
    reviews: Reviews,
    catalogue: Catalogue,
    negatives: Literal["never_reviewed", "not_yet_reviewed"],
    seed: int,
    history_length: int,
) -> Events:
    """Two events of each review but a user's first.

    Args:
        negatives: never_reviewed: of all items that the user never reviews; not_yet_reviewed: of the items that
            somebody has reviewed by the time, those that the user has not before or now.
    """
    rows = np.flatnonzero(reviews.positions > 0)
    drawn = _draw(reviews, rows, catalogue, negatives, seed)
    found = drawn >= 0
    of_events = np.concatenate([rows, rows[found]])
    lengths = np.minimum(reviews.positions[of_events], history_length)
    return Events(
        reviews=of_events,
        items=np.concatenate([reviews.items[rows], catalogue.items[drawn[found]]]),
        labels=np.concatenate([np.ones(len(rows), np.int64), np.zeros(int(found.sum()), np.int64)]),
        begins=of_events - lengths,
        ends=of_events,
        without_negative=int((~found).sum()),
    )


def _draw(reviews: Reviews, rows: Integers, catalogue: Catalogue, negatives: str, seed: int) -> Integers:
    """(M,) places in the catalogue of the negatives of some reviews; -1 where there is none.

    A draw depends on the seed, the user and the position alone, so it is the same in whatever order users come.
    """
    never = negatives == "never_reviewed"
    reviewed = _FirstReviews.of(reviews, catalogue)
    users = Draws.of(reviews.users[rows], seed, "user").words("negatives").view(np.int64)
    draws = Draws.of(users + reviews.positions[rows], seed, "negative")
    known = np.searchsorted(catalogue.first_times, reviews.times[rows], side="right")
    limits = np.full(len(rows), len(catalogue.items)) if never else known
    drawn = np.full(len(rows), -1)
    open_rows = np.arange(len(rows))
    for attempt in range(MOST_DRAWS):
        places = (draws.only(open_rows).uniform("item", attempt) * limits[open_rows]).astype(np.int64)
        first = reviewed.positions(reviews.users[rows[open_rows]], places)
        until = np.iinfo(np.int64).max - 1 if never else reviews.positions[rows[open_rows]]
        allowed = first > until
        drawn[open_rows[allowed]] = places[allowed]
        open_rows = open_rows[~allowed]
        if not len(open_rows):
            break
    return drawn


@dataclass(frozen=True)
class _FirstReviews:
    """At which position each user first reviewed each item."""

    users: Integers
    """distinct, ascending"""
    stride: int
    keys: Integers
    """place of the user times stride, plus place of the item in the catalogue; distinct, ascending"""
    first: Integers

    @classmethod
    def of(cls, reviews: Reviews, catalogue: Catalogue) -> "_FirstReviews":
        order = np.argsort(catalogue.items)
        places = order[np.searchsorted(catalogue.items, reviews.items, sorter=order)]
        users, user_places = np.unique(reviews.users, return_inverse=True)
        keys, first_rows = np.unique(user_places * len(order) + places, return_index=True)
        return cls(users, len(order), keys, reviews.positions[first_rows])

    def positions(self, users: Integers, places: Integers) -> Integers:
        """(B,) the position of the first review; the largest integer where there is none."""
        wanted = np.searchsorted(self.users, users) * self.stride + places
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[at] == wanted, self.first[at], np.iinfo(np.int64).max)
