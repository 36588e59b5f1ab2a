"""What has to be made of Amazon Electronics' files before days can be gathered from it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from exfm_ray.config import AmazonData
from exfm_ray.data.amazon_files import MISSING_CATEGORY, Review, find_amazon, read_categories, read_reviews
from exfm_ray.data.amazon_users import Catalogue, Reviews, din_events
from exfm_ray.data.commit import Stopwatch, commit
from exfm_ray.data.input_files import identity
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows, write_part
from exfm_ray.data.source import Stage, piece_directory
from exfm_ray.data.user_buckets import bucket_count, read_bucket, write_buckets
from exfm_ray.data.user_events import BEGIN, END, PLACE, TIME, USER, commit_slices, commit_user_events

REVIEWS_PER_FILE = 500_000
HISTORY = "item_history"


@dataclass(frozen=True)
class AmazonStages:
    """Reviews by bucket of users → the catalogue of items → events per bucket → time slices.

    Only ids and times are kept of a review.
    """

    config: AmazonData
    identity: str
    buckets: int

    @classmethod
    def of(cls, config: AmazonData) -> "AmazonStages":
        files = find_amazon(config.path)
        return cls(config, identity([files.reviews, files.meta]), bucket_count([files.reviews]))

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage(self._name("reviews"), 1, self.make_reviews),
            Stage(self._name("catalogue"), 1, self.make_catalogue),
            Stage(self._name("users"), self.buckets, self.make_users),
            Stage(self._name("slices"), 1, self.make_slices),
        )

    def _name(self, stage: str) -> str:
        return f"{self.identity}/{stage}"

    def directory(self, work: Location, stage: str, piece: int = 0) -> Location:
        return piece_directory(work, self._name(stage), piece)

    def users(self, work: Location) -> list[Location]:
        """The events of each bucket."""
        return [self.directory(work, "users", bucket) for bucket in range(self.buckets)]

    def make_reviews(self, work: Location, piece: int) -> None:
        stopwatch, directory = Stopwatch.start(), self.directory(work, "reviews", piece)
        tables = _tables(read_reviews(find_amazon(self.config.path).reviews), REVIEWS_PER_FILE)
        files = [
            write_buckets(directory, part, table, table[USER].to_numpy(), self.buckets)
            for part, table in enumerate(tables)
        ]
        commit(directory, files, {}, stopwatch)

    def make_catalogue(self, work: Location, piece: int) -> None:
        """The reviewed items with their first times and their categories; of several meta lines the first counts."""
        stopwatch = Stopwatch.start()
        items, times = _first_times(read_rows(self.directory(work, "reviews"), ["item", TIME]))
        wanted, categories, repeated = set(items.tolist()), dict[int, int](), 0
        for item, category in read_categories(find_amazon(self.config.path).meta, wanted):
            repeated += item in categories
            categories.setdefault(item, category)
        found = [categories.get(item, MISSING_CATEGORY) for item in items.tolist()]
        table = pa.table({"item": items, "first_time": times, "category": pa.array(found, pa.int64())})
        directory = self.directory(work, "catalogue", piece)
        about = {"items_without_meta": len(wanted) - len(categories), "repeated_meta_lines": repeated}
        commit(directory, [write_part(directory, 0, table)], about, stopwatch)

    def make_users(self, work: Location, bucket: int) -> None:
        stopwatch, config = Stopwatch.start(), self.config
        table = read_bucket([self.directory(work, "reviews")], bucket)
        reviews = Reviews.of(*(table[name].to_numpy() for name in (USER, "item", TIME)))
        catalogue = read_catalogue(self.directory(work, "catalogue"))
        events = din_events(reviews, catalogue, config.negatives, config.seed, config.history_length)
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
            "duplicates_dropped": reviews.duplicates,
            "positives_without_negative": events.without_negative,
            "positives": int(events.labels.sum()),
        }
        directory = self.directory(work, "users", bucket)
        commit_user_events(directory, pa.table(columns), {HISTORY: reviews.items}, about, stopwatch)

    def make_slices(self, work: Location, piece: int) -> None:
        commit_slices(self.directory(work, "slices", piece), self.users(work), self.config.days, {})


@lru_cache(maxsize=1)
def read_catalogue(directory: Location) -> Catalogue:
    """The committed catalogue."""
    (table,) = [pa.concat_tables(read_rows(directory, ["item", "first_time", "category"]))]
    return Catalogue(*(table[name].to_numpy() for name in ("item", "first_time", "category")))


def _tables(reviews: Iterable[Review], rows: int) -> Iterator[pa.Table]:
    """Reviews as tables of at most `rows` rows; one empty table where there are none."""
    held: list[tuple[int, int, int]] = []
    written = False
    for review in reviews:
        held.append((review.user, review.item, review.second * 1_000))
        if len(held) == rows:
            yield _table(held)
            held, written = [], True
    if held or not written:
        yield _table(held)


def _table(rows: list[tuple[int, int, int]]) -> pa.Table:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return pa.table(dict(zip((USER, "item", TIME), columns.T.copy(), strict=True)))


def _first_times(tables: Iterable[pa.Table]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct items and their earliest times, by (time, item)."""
    items = times = np.empty(0, np.int64)
    for table in tables:
        items, times = np.append(items, table["item"].to_numpy()), np.append(times, table[TIME].to_numpy())
        order = np.lexsort((times, items))
        items, times = items[order], times[order]
        items, first = np.unique(items, return_index=True)
        times = times[first]
    order = np.lexsort((items, times))
    return items[order], times[order]
