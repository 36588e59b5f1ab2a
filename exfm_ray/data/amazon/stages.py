"""What has to be made of Amazon Electronics' files before days can be gathered from it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from exfm_ray.config import AmazonData
from exfm_ray.data.amazon.files import MISSING_CATEGORY, Review, find_amazon, read_categories, read_reviews
from exfm_ray.data.amazon.users import Catalogue, Integers, Reviews, din_events
from exfm_ray.data.commit import Stopwatch, commit
from exfm_ray.data.location import Location
from exfm_ray.data.logs.groups import commit_groups
from exfm_ray.data.logs.input_files import identity
from exfm_ray.data.logs.line_ranges import LineRange, line_ranges
from exfm_ray.data.logs.user_buckets import bucket_count, read_bucket, write_buckets
from exfm_ray.data.logs.user_event_source import UserEventStages
from exfm_ray.data.logs.user_events import BEGIN, END, PLACE, TIME, USER, commit_slices, commit_user_events
from exfm_ray.data.partitions import read_rows, write_part
from exfm_ray.data.source import Stage

RANGE_BYTES = 128 * 2**20
REVIEWS_PER_FILE = 500_000
HISTORY = "item_history"


@dataclass(frozen=True)
class AmazonStages(UserEventStages):
    """Reviews by bucket of users → the reviewed items → their categories → events per bucket → time slices.

    Only ids and times are kept of a review.
    """

    config: AmazonData
    review_ranges: tuple[LineRange, ...]
    meta_ranges: tuple[LineRange, ...]

    @classmethod
    def of(cls, config: AmazonData) -> "AmazonStages":
        files = find_amazon(config.directory)
        return cls(
            identity([files.reviews, files.meta], config.model_dump_json()),
            bucket_count([files.reviews]),
            config,
            line_ranges(files.reviews, RANGE_BYTES),
            line_ranges(files.meta, RANGE_BYTES),
        )

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage(self.name("reviews"), len(self.review_ranges), self.make_reviews),
            Stage(self.name("items"), 1, self.make_items),
            Stage(self.name("metas"), len(self.meta_ranges), self.make_metas),
            Stage(self.name("users"), self.buckets, self.make_users),
            Stage(self.name("slices"), 1, self.make_slices),
        )

    def reviews(self, work: Location) -> list[Location]:
        """The reviews of each range."""
        return [self.directory(work, "reviews", piece) for piece in range(len(self.review_ranges))]

    def catalogue(self, work: Location) -> Catalogue:
        """The reviewed items with their categories; of several meta lines of an item the first counts."""
        metas = tuple(self.directory(work, "metas", piece) for piece in range(len(self.meta_ranges)))
        return _read_catalogue(self.directory(work, "items"), metas)

    def make_reviews(self, work: Location, piece: int) -> None:
        stopwatch, directory = Stopwatch.start(), self.directory(work, "reviews", piece)
        files = [
            write_buckets(directory, table, table[USER].to_numpy(), self.buckets)
            for table in _tables(read_reviews(self.review_ranges[piece]))
        ]
        commit_groups(directory, files, {}, stopwatch)

    def make_items(self, work: Location, piece: int) -> None:
        stopwatch, directory = Stopwatch.start(), self.directory(work, "items", piece)
        tables = (table for place in self.reviews(work) for table in read_rows(place, ["item", TIME]))
        commit(directory, [write_part(directory, 0, _first_times(tables))], {}, stopwatch)

    def make_metas(self, work: Location, piece: int) -> None:
        stopwatch, directory = Stopwatch.start(), self.directory(work, "metas", piece)
        (items,) = _columns(self.directory(work, "items"), ["item"])
        found = np.array(list(read_categories(self.meta_ranges[piece], {*items.tolist()})), np.int64).reshape(-1, 2)
        table = pa.table({"item": found[:, 0].copy(), "category": found[:, 1].copy()})
        commit(directory, [write_part(directory, 0, table)], {}, stopwatch)

    def make_users(self, work: Location, bucket: int) -> None:
        stopwatch, config = Stopwatch.start(), self.config
        table = read_bucket(self.reviews(work), bucket)
        reviews = Reviews.of(*(table[name].to_numpy() for name in (USER, "item", TIME)))
        events = din_events(reviews, self.catalogue(work), config.negatives, config.seed, config.history_length)
        columns = {
            TIME: reviews.times[events.reviews],
            USER: reviews.users[events.reviews],
            PLACE: 2 * reviews.positions[events.reviews] + 1 - events.labels,
            "item": events.items,
            "label": events.labels,
            HISTORY + BEGIN: events.begins,
            HISTORY + END: events.ends,
        }
        about = {
            "users": int((reviews.positions == 0).sum()),
            "users_with_one_review": int((reviews.positions == 0).sum() - (reviews.positions == 1).sum()),
            "reviews": table.num_rows,
            "duplicates_dropped": reviews.duplicates,
            "positives_without_negative": events.without_negative,
            "positives": int(events.labels.sum()),
        }
        directory = self.directory(work, "users", bucket)
        commit_user_events(directory, pa.table(columns), {HISTORY: reviews.items}, about, stopwatch)

    def make_slices(self, work: Location, piece: int) -> None:
        commit_slices(self.directory(work, "slices", piece), self.users(work), self.config.days, {})


@lru_cache(maxsize=1)
def _read_catalogue(items: Location, metas: tuple[Location, ...]) -> Catalogue:
    categories: dict[int, int] = {}
    for place in metas:
        for item, category in zip(*(column.tolist() for column in _columns(place, ["item", "category"])), strict=True):
            categories.setdefault(item, category)
    reviewed, first_times = _columns(items, ["item", "first_time"])
    of_items = [categories.get(item, MISSING_CATEGORY) for item in reviewed.tolist()]
    return Catalogue(reviewed, first_times, np.array(of_items, np.int64))


def _columns(directory: Location, names: Sequence[str]) -> list[Integers]:
    """(N,) each, of a committed directory."""
    tables = list(read_rows(directory, names))
    none = np.empty(0, np.int64)
    return [np.concatenate([none, *(table[name].to_numpy() for table in tables)]) for name in names]


def _tables(reviews: Iterable[Review]) -> Iterator[pa.Table]:
    """Reviews as tables of at most REVIEWS_PER_FILE rows; one empty table where there are none."""
    held: list[tuple[int, int, int]] = []
    written = False
    for review in reviews:
        held.append((review.user, review.item, review.second * 1_000))
        if len(held) == REVIEWS_PER_FILE:
            yield _table(held)
            held, written = [], True
    if held or not written:
        yield _table(held)


def _table(rows: list[tuple[int, int, int]]) -> pa.Table:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3).T.copy()
    return pa.table(dict(zip((USER, "item", TIME), columns, strict=True)))


def _first_times(tables: Iterable[pa.Table]) -> pa.Table:
    """Distinct items and their earliest times, by (time, item)."""
    items = times = np.empty(0, np.int64)
    for table in tables:
        items, times = np.append(items, table["item"].to_numpy()), np.append(times, table[TIME].to_numpy())
        order = np.lexsort((times, items))
        items, first = np.unique(items[order], return_index=True)
        times = times[order][first]
    order = np.lexsort((items, times))
    return pa.table({"item": items[order], "first_time": times[order]})
