"""TaobaoAd's raw files as a source of day partitions (Tianchi 56: eight days of display advertising on Taobao).

Day d is the Shanghai date first_date + d - 1. Every event is one impression of an ad. What a model reads of it is
known before it: the ids, the two static tables, and the user's latest behaviours strictly before it. Impressions stay
as they are, equal ones too; of equal behaviours one counts.

The logs may be of any size: their byte ranges are scattered over buckets of users, each bucket gets its histories by
itself, and a time slice of a day is gathered from all buckets. Only the tables of users and ads are held in memory.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.config import TaobaoData
from exfm_ray.data.commit import Manifest, Stopwatch, require
from exfm_ray.data.location import Location
from exfm_ray.data.logs.groups import commit_groups, read_group, read_groups, scattered, write_groups
from exfm_ray.data.logs.history import Histories
from exfm_ray.data.logs.line_ranges import GZIP_SUFFIX
from exfm_ray.data.logs.text_table import TextTable
from exfm_ray.data.source import Stage, piece_directory
from exfm_ray.data.taobao.days import day_table, domains_of_levels, told_domains
from exfm_ray.data.taobao.features import CANDIDATE_BTAG, Integers, level_count, taobao_schema
from exfm_ray.data.taobao.files import (
    AD_IDS,
    BEHAVIORS,
    DAY_SECONDS,
    HISTORIES,
    USER_ATTRIBUTES,
    RawFiles,
    day_start,
    fingerprint,
    open_files,
)
from exfm_ray.data.taobao.histories import behavior_histories, whole_histories, with_histories
from exfm_ray.data.taobao.profiles import Profiles, commit_ads, commit_users, read_ads, read_users
from exfm_ray.data.taobao.scatter import (
    BIN_SECONDS,
    bins_of,
    scatter_behaviors,
    scatter_impressions,
    unpack_behaviors,
)
from exfm_ray.data.taobao.slices import Sizes, Slices, cut_slices
from exfm_ray.data.taobao.x1 import TaobaoX1Source
from exfm_ray.schema import EVENT_ID, EVENT_TIME, Schema, label_column

MOST_BUCKETS = 4_096
UNPACKED = 4
"""A gzip's text is about so many times as long."""

Columns = dict[str, NDArray[Any]]

EVENT_COLUMNS = ["event", "user", "time", "ad", "pid", "click"]
"""Of an impression in a bucket; its history is beside them."""


@dataclass(frozen=True)
class TaobaoSource:
    """A `StagedSource`. Only its configuration and what its files are travel.

    Raises, from stages and parts:
        UserError: a line of a file is wrong, or a day has no impressions.
    """

    config: TaobaoData
    files: RawFiles = field(compare=False)
    version: str
    """changes with the files, so that pieces of other files are not taken for theirs"""
    sizes: Sizes = field(default_factory=Sizes)
    work: Location | None = None

    @classmethod
    def of(cls, config: TaobaoData, files: RawFiles) -> "TaobaoSource":
        return cls(config, files, fingerprint(files.impressions, files.ads, files.users, files.behaviors))

    @property
    def days(self) -> int:
        return self.config.days

    @property
    def buckets(self) -> int:
        """Over how many buckets users are spread, so that one fits in memory."""
        logs = [self.files.impressions, self.files.behaviors]
        return max(1, min(sum(_text_bytes(log) for log in logs if log) // self.sizes.bucket_bytes, MOST_BUCKETS))

    def schema(self) -> Schema:
        return taobao_schema(self.config, histories=self.files.behaviors is not None)

    def stages(self) -> tuple[Stage, ...]:
        makers = {
            "profiles": self._make_profiles,
            "impressions": self._make_impressions,
            "behaviors": self._make_behaviors,
            "buckets": self._make_bucket,
        }
        return tuple(Stage(self._name(name), self._count(name), make) for name, make in makers.items())

    def over(self, work: Location) -> "TaobaoSource":
        return replace(self, work=work)

    def parts(self, day: int) -> int:
        return self._slices().parts(day)

    def part(self, day: int, part: int) -> pa.Table:
        """Rows of one second are ordered by their place in the file."""
        number = self._slices().number(day, part)
        rows = pa.concat_tables([read_group(bucket, number) for bucket in self._pieces("buckets")]).combine_chunks()
        order = np.lexsort((rows["event"].to_numpy(), rows["time"].to_numpy()))
        columns, domains = self._events(rows.select(EVENT_COLUMNS).take(pa.array(order)))
        if self.files.behaviors is not None:
            columns |= _history_columns(whole_histories(rows, order))
        return day_table(self.schema(), columns, domains)

    def summary(self) -> dict[str, Any]:
        """What was read, for the user: counts, rates, and what was dropped and why."""
        impressions, behaviors, buckets = (self._manifests(name) for name in ("impressions", "behaviors", "buckets"))
        users, ads = (piece.about for piece in self._manifests("profiles"))
        rows = sum(piece.rows for piece in impressions)
        found = {
            "rows": rows,
            "days": self.days,
            "rows_per_day": rows_of_bins(self.config, self._pieces("impressions")).sum(axis=1).tolist(),
            "click_rate": sum(piece.about["clicks"] for piece in impressions) / rows,
            "distinct_ids": {"userid": sum(piece.about["users"] for piece in buckets)} | self._distinct_ad_ids(),
            "rows_without_user_profile": sum(piece.about["without_user"] for piece in buckets),
            "rows_without_ad_features": sum(piece.about["without_ad"] for piece in buckets),
            "user_levels_read_as_missing": users["levels_read_as_missing"],
            "repeated_users_dropped": users["repeated_rows_dropped"],
            "repeated_ads_dropped": ads["repeated_rows_dropped"],
            "domains": told_domains(self.config, self._domain_of_level()),
        }
        if not behaviors:
            return found | {"warning": f"there is no {BEHAVIORS}, so the days have no {', '.join(HISTORIES)}"}
        nonsense = sum(piece.about["nonsense_times"] for piece in behaviors)
        return found | {
            "behaviors": sum(piece.rows for piece in behaviors) + nonsense,
            "behaviors_of_nonsense_time_dropped": nonsense,
            "repeated_behaviors_dropped": sum(piece.about["repeated"] for piece in buckets),
        }

    # the stages

    def _make_profiles(self, work: Location, piece: int) -> None:
        directory = self.over(work)._piece("profiles", piece)
        if piece == 0:
            commit_users(self.files.users, directory)
        else:
            commit_ads(self.files.ads, directory)

    def _make_impressions(self, work: Location, piece: int) -> None:
        table, directory = self.files.impressions, self.over(work)._piece("impressions", piece)
        lines = table.ranges(self.sizes.range_bytes)[piece]
        scatter_impressions(self.config, table, lines, self.buckets, self.sizes, directory)

    def _make_behaviors(self, work: Location, piece: int) -> None:
        table, directory = self.files.behaviors, self.over(work)._piece("behaviors", piece)
        assert table is not None
        lines = table.ranges(self.sizes.range_bytes)[piece]
        scatter_behaviors(self.config, table, lines, self.buckets, self.sizes, directory)

    def _make_bucket(self, work: Location, bucket: int) -> None:
        """Give the impressions of a bucket's users their histories, and commit them by time slice."""
        self.over(work)._commit_bucket(bucket, Stopwatch.start())

    def _commit_bucket(self, bucket: int, stopwatch: Stopwatch) -> None:
        rows, slices = self._impressions_of(bucket), self._slices()
        about = self._told_of(rows)
        histories = None
        if self.files.behaviors is not None:
            histories, about["repeated"] = self._histories(bucket)
        numbers = slices.of_bin[bins_of(rows["time"].astype(np.int64), self.config)].astype(np.uint16)
        groups = scattered(pa.table(rows), numbers, slices.count)
        if histories is not None:
            groups = (with_histories(group, histories, self.config.history_length) for group in groups)
        directory = self._piece("buckets", bucket)
        commit_groups(directory, [write_groups(directory, groups)], about, stopwatch)

    def _impressions_of(self, bucket: int) -> Columns:
        """Impressions of a bucket's users, ordered by user and time; `event` is their row in the file, from 0."""
        read, events, begin = [], [], 0
        for piece in self._pieces("impressions"):
            read.append(read_group(piece, bucket))
            events.append(read[-1]["row"].to_numpy().astype(np.int64) + begin)
            begin += require(piece).rows
        rows = pa.concat_tables(read)
        columns = {name: rows[name].to_numpy() for name in EVENT_COLUMNS if name != "event"}
        columns["event"] = np.concatenate(events)
        order = np.lexsort((columns["time"], columns["user"]))
        return {name: values[order] for name, values in columns.items()}

    def _histories(self, bucket: int) -> tuple[Histories, int]:
        read = pa.concat_tables([read_group(piece, bucket) for piece in self._pieces("behaviors")])
        users, times, behaviors = (read[name].to_numpy() for name in ("user", "time", "behavior"))
        begin, end = day_start(self.config.behaviors_from), day_start(self.config.first_date) + self.days * DAY_SECONDS
        return behavior_histories(users, times, behaviors, begin, end)

    def _told_of(self, rows: Columns) -> dict[str, Any]:
        """Of a bucket's impressions: rows of each domain level in the days that decide domains, and what is missing."""
        users, ads = self._users().rows_of(rows["user"]), self._ads().rows_of(rows["ad"])
        about: dict[str, Any] = {
            "users": len(np.unique(rows["user"])),
            "without_user": int((users < 0).sum()),
            "without_ad": int((ads < 0).sum()),
        }
        if self.config.domain_column is not None:
            training = rows["time"] < day_start(self.config.first_date) + self.config.domain_days * DAY_SECONDS
            levels = self._levels(rows["pid"], users)[training]
            about["levels"] = np.bincount(levels, minlength=level_count(self.config.domain_column)).tolist()
        return about

    # the days

    def _events(self, rows: pa.Table) -> tuple[dict[str, Any], Integers]:
        """Columns of N events but for their histories, and their (N,) domains."""
        users, ads = self._users().rows_of(rows["user"].to_numpy()), self._ads().rows_of(rows["ad"].to_numpy())
        columns = {
            EVENT_ID: rows["event"],
            EVENT_TIME: rows["time"].to_numpy().astype(np.int64) * 1_000,
            "userid": rows["user"],
            **{name: self._users().columns[name][users] for name in USER_ATTRIBUTES},
            "adgroup_id": rows["ad"],
            **{name: self._ads().columns[name][ads] for name in (*AD_IDS, "price")},
            "pid": rows["pid"],
            "btag": np.full(rows.num_rows, CANDIDATE_BTAG),
            label_column("click"): rows["click"],
        }
        return columns, self._domain_of_level()[self._levels(rows["pid"].to_numpy(), users)]

    def _levels(self, pids: NDArray[Any], users: Integers) -> Integers:
        """(N,) level of the domain column of each row."""
        column = self.config.domain_column
        if column is None:
            return np.zeros(len(users), dtype=np.int64)
        return pids if column == "pid" else np.asarray(self._users().columns[column][users])

    def _domain_of_level(self) -> Integers:
        return _decided_domains(self.config, self._pieces("buckets"))

    def _slices(self) -> Slices:
        return _cut(self.config, self._pieces("impressions"), self.sizes.slice_rows)

    # what the stages left

    def _users(self) -> Profiles:
        return read_users(self._piece("profiles", 0))

    def _ads(self) -> Profiles:
        return read_ads(self._piece("profiles", 1))

    def _distinct_ad_ids(self) -> dict[str, int]:
        """How many the impressions have of each."""
        ads = np.empty(0, dtype=np.int64)
        for bucket in self._pieces("buckets"):
            ads = np.union1d(ads, read_groups(bucket, 0, ["ad"])["ad"].to_numpy())
        rows = self._ads().rows_of(ads)
        return {"adgroup_id": len(ads)} | {name: len(np.unique(self._ads().columns[name][rows])) for name in AD_IDS}

    def _count(self, stage: str) -> int:
        """Number of pieces of a stage."""
        logs = {"impressions": self.files.impressions, "behaviors": self.files.behaviors}
        if stage in logs:
            table = logs[stage]
            return len(table.ranges(self.sizes.range_bytes)) if table else 0
        return 2 if stage == "profiles" else self.buckets

    def _name(self, stage: str) -> str:
        return f"{stage}-{self.version}"

    def _piece(self, stage: str, piece: int) -> Location:
        assert self.work is not None
        return piece_directory(self.work, self._name(stage), piece)

    def _pieces(self, stage: str) -> tuple[Location, ...]:
        return tuple(self._piece(stage, piece) for piece in range(self._count(stage)))

    def _manifests(self, stage: str) -> list[Manifest]:
        return [require(piece) for piece in self._pieces(stage)]


@lru_cache(maxsize=1)
def _cut(config: TaobaoData, impressions: tuple[Location, ...], slice_rows: int) -> Slices:
    return cut_slices(config, rows_of_bins(config, impressions), slice_rows)


@lru_cache(maxsize=1)
def _decided_domains(config: TaobaoData, buckets: tuple[Location, ...]) -> Integers:
    if config.domain_column is None:
        return np.zeros(1, dtype=np.int64)
    counts = np.sum([require(bucket).about["levels"] for bucket in buckets], axis=0)
    return domains_of_levels(config, counts)


def rows_of_bins(config: TaobaoData, impressions: tuple[Location, ...]) -> Integers:
    """(days, bins per day) impressions of each bin, over all pieces."""
    counts = np.sum([require(piece).about["bins"] for piece in impressions], axis=0)
    return np.asarray(counts, dtype=np.int64).reshape(config.days, DAY_SECONDS // BIN_SECONDS)


def _history_columns(lists: pa.ListArray) -> dict[str, pa.ListArray]:
    values = unpack_behaviors(lists.values.to_numpy())
    return {name: pa.ListArray.from_arrays(lists.offsets, of) for name, of in zip(HISTORIES, values, strict=True)}


def _text_bytes(table: TextTable) -> int:
    return table.place.size() * (UNPACKED if table.place.name.endswith(GZIP_SUFFIX) else 1)


def taobao_source(config: TaobaoData) -> "TaobaoSource | TaobaoX1Source":
    """The reader of the layout that lies in `config.path`.

    Raises:
        UserError: a file is missing, or a header is wrong.
    """
    files = open_files(config)
    return TaobaoSource.of(config, files) if isinstance(files, RawFiles) else TaobaoX1Source.of(config, files)
