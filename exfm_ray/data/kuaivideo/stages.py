"""What has to be made of KuaiVideo's files before days can be gathered from it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from exfm_ray.config import KuaiVideoData
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.kuaivideo.files import ITEM, LABELS, LISTS, KuaiVideoFiles, find_kuaivideo, read_rows_of
from exfm_ray.data.kuaivideo.users import past_items
from exfm_ray.data.location import Location
from exfm_ray.data.logs.distinct_rows import distinct_rows
from exfm_ray.data.logs.groups import commit_groups
from exfm_ray.data.logs.input_files import identity
from exfm_ray.data.logs.line_ranges import LineRange
from exfm_ray.data.logs.user_buckets import bucket_count, read_bucket, write_buckets
from exfm_ray.data.logs.user_event_source import UserEventStages
from exfm_ray.data.logs.user_events import (
    BEGIN,
    END,
    PLACE,
    TIME,
    USER,
    commit_slices,
    commit_user_events,
    distinct_values,
)
from exfm_ray.data.source import Stage

RANGE_BYTES = 128 * 2**20
FILE_BYTES = 128 * 2**20
"""in memory, of the rows that are scattered at once"""
SHARE_WITHOUT_LISTS = 1 / 8
"""At most this part of the text of x1 is left where its lists are not read."""


@dataclass(frozen=True)
class KuaiVideoStages(UserEventStages):
    """Rows by bucket of users → events per bucket → time slices."""

    config: KuaiVideoData
    files: KuaiVideoFiles
    ranges: tuple[tuple[int, LineRange], ...]
    """each with the index of its file"""

    @classmethod
    def of(cls, config: KuaiVideoData) -> "KuaiVideoStages":
        files = find_kuaivideo(config)
        kept = SHARE_WITHOUT_LISTS if files.layout == "x1" and not files.lists else 1
        ranges = ((index, lines) for index, table in enumerate(files.tables) for lines in table.ranges(RANGE_BYTES))
        known_by = identity(files.places, config.model_dump_json())
        return cls(known_by, bucket_count(files.places, kept), config, files, tuple(ranges))

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage(self.name("log"), len(self.ranges), self.make_log),
            Stage(self.name("users"), self.buckets, self.make_users),
            Stage(self.name("slices"), 1, self.make_slices),
        )

    def make_log(self, work: Location, piece: int) -> None:
        stopwatch, directory = Stopwatch.start(), self.directory(work, "log", piece)
        tables = _gathered(read_rows_of(self.files, *self.ranges[piece]))
        files = [write_buckets(directory, table, table[USER].to_numpy(), self.buckets) for table in tables]
        commit_groups(directory, files, {}, stopwatch)

    def make_users(self, work: Location, bucket: int) -> None:
        stopwatch = Stopwatch.start()
        log = read_bucket([self.directory(work, "log", piece) for piece in range(len(self.ranges))], bucket)
        log = log.take(np.lexsort((log[PLACE], log[TIME], log[USER])))
        events = log.take(distinct_rows(*(log[name].to_numpy() for name in (ITEM, *LABELS, TIME, USER))))
        counts = {label: int(events[label].to_numpy().sum()) for label in LABELS}
        about = {
            "users": len(np.unique(events[USER])),
            "duplicates_dropped": log.num_rows - events.num_rows,
            **counts,
        }
        lists = {}
        if self.config.histories == "past":
            users, times, items, clicks = (events[name].to_numpy() for name in (USER, TIME, ITEM, "click"))
            for name, chosen in zip(LISTS, (clicks == 1, clicks == 0), strict=True):
                past = past_items(users, times, items, chosen, self.config.history_length)
                events = events.append_column(name + BEGIN, pa.array(past.begins))
                events = events.append_column(name + END, pa.array(past.ends))
                lists[name] = past.values
        commit_user_events(self.directory(work, "users", bucket), events, lists, about, stopwatch)

    def make_slices(self, work: Location, piece: int) -> None:
        users = self.users(work)
        about = {"items": len(distinct_values(users, ITEM))}
        commit_slices(self.directory(work, "slices", piece), users, self.config.days, about)


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of about FILE_BYTES."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(each.nbytes for each in held) >= FILE_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
