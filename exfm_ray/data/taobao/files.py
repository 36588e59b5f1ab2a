"""TaobaoAd's files where they lie, and what each of their columns holds (Tianchi 56; reczoo's TaobaoAd_x1)."""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import get_args

import pyarrow as pa

from exfm_ray.config import TaobaoData
from exfm_ray.config.taobao import TaobaoDomainColumn
from exfm_ray.data.location import Location
from exfm_ray.data.logs.text_table import TextTable, text_table
from exfm_ray.errors import UserError

IMPRESSIONS, ADS, USERS, BEHAVIORS = "raw_sample.csv", "ad_feature.csv", "user_profile.csv", "behavior_log.csv"
X1_TRAIN, X1_TEST = "train.csv", "test.csv"

USER_ATTRIBUTES = tuple(column for column in get_args(TaobaoDomainColumn) if column != "pid")
AD_IDS = ("cate_id", "campaign_id", "customer", "brand")
HISTORIES = ("cate_his", "brand_his", "btag_his")

IMPRESSION_TYPES = {
    "user": pa.int32(),
    "time_stamp": pa.int64(),
    "adgroup_id": pa.int32(),
    "pid": pa.string(),
    "nonclk": pa.int32(),
    "clk": pa.int32(),
}
AD_TYPES = {"adgroup_id": pa.int32(), **dict.fromkeys(AD_IDS, pa.int32()), "price": pa.float64()}
USER_TYPES = {"userid": pa.int32(), **dict.fromkeys(USER_ATTRIBUTES, pa.float64())}
BEHAVIOR_TYPES = {
    "user": pa.int32(),
    "time_stamp": pa.int64(),
    "btag": pa.string(),
    "cate": pa.int32(),
    "brand": pa.int32(),
}
X1_TYPES = {
    "clk": pa.int32(),
    **dict.fromkeys(HISTORIES, pa.string()),
    **USER_TYPES,
    **AD_TYPES,
    "pid": pa.int32(),
    "btag": pa.int32(),
}

DAY_SECONDS = 86_400
SHANGHAI_SECONDS = 8 * 3_600
"""Asia/Shanghai is UTC+8; it has had no daylight saving time since 1991."""


@dataclass(frozen=True)
class RawFiles:
    """The four files of Tianchi 56."""

    impressions: TextTable
    ads: TextTable
    users: TextTable
    behaviors: TextTable | None
    """None: there is no behaviour log"""


@dataclass(frozen=True)
class X1Files:
    """The two files of TaobaoAd_x1."""

    train: TextTable
    test: TextTable


def open_files(config: TaobaoData) -> RawFiles | X1Files:
    """The files in `config.path`, plain or `.gz`, their headers checked.

    Raises:
        UserError: the path is no directory, a file or a column is missing, or both layouts are there.
    """
    root = Location.of(config.directory)
    if not root.is_directory():
        found = "is a file" if root.is_file() else "does not exist"
        raise UserError(f"data.path: {config.directory!r} {found}; give the directory that holds TaobaoAd's files")
    names = {child.name for child in root.children()}
    raw = [name for name in (IMPRESSIONS, ADS, USERS) if names & {name, f"{name}.gz"}]
    x1 = [name for name in (X1_TRAIN, X1_TEST) if names & {name, f"{name}.gz"}]
    if raw and x1:
        raise UserError(f"data.path: {root} holds {raw[0]} and {x1[0]}; keep the raw files or x1's, not both")
    if x1:
        train, test = (_place(root, name, names) for name in (X1_TRAIN, X1_TEST))
        return X1Files(_x1_table(train), _x1_table(test))
    return RawFiles(
        impressions=text_table(_place(root, IMPRESSIONS, names), IMPRESSION_TYPES),
        ads=text_table(_place(root, ADS, names), AD_TYPES, nullable=[*AD_IDS, "price"]),
        users=text_table(_place(root, USERS, names), USER_TYPES, nullable=USER_ATTRIBUTES),
        behaviors=_behaviors(root, names),
    )


def _place(root: Location, name: str, names: set[str]) -> Location:
    if name in names:
        return root / name
    if f"{name}.gz" in names:
        return root / f"{name}.gz"
    raise UserError(
        f"data.path: {root} lacks {name}; it needs {IMPRESSIONS}, {ADS} and {USERS} ({BEHAVIORS} makes the "
        f"histories), or else x1's {X1_TRAIN} and {X1_TEST}"
    )


def _behaviors(root: Location, names: set[str]) -> TextTable | None:
    if not names & {BEHAVIORS, f"{BEHAVIORS}.gz"}:
        return None
    return text_table(_place(root, BEHAVIORS, names), BEHAVIOR_TYPES, nullable=["time_stamp", "cate", "brand"])


def _x1_table(place: Location) -> TextTable:
    return text_table(place, X1_TYPES, nullable=[*HISTORIES, *USER_ATTRIBUTES, *AD_IDS, "price"])


def fingerprint(*tables: TextTable | None) -> str:
    """12 hexadecimal digits that change when a file does: pieces made of other files are not taken for these."""
    told = []
    for table in filter(None, tables):
        system, path = table.place.opened()
        info = system.get_file_info(path)
        told.append((table.place.name, info.size, info.mtime_ns))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def day_start(day: date) -> int:
    """Unix seconds of the beginning of a date in Shanghai."""
    return (day - date(1970, 1, 1)).days * DAY_SECONDS - SHANGHAI_SECONDS
