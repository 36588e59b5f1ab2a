"""KuaiRand-Pure's user and video tables as coded features.

Codes come from these static tables alone, never from the log, so no label and no later event can change them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exfm_ray.config import KuaiRandData
from exfm_ray.data.kuairand.tables import TEXT_COLUMNS, find_tables, numbers, read_table, texts, whole_numbers
from exfm_ray.data.location import Location
from exfm_ray.schema import Feature

IDENTITY_VALUES = 1_000
"""A column with more distinct values is hashed."""
MISSING_CODE = 0
"""A missing value among codes, which count from 1."""
MISSING_ID = -1
"""A missing value among raw ids, which are hashed."""

UNKNOWN_TAG = "unknown"
"""What the Parquet tables say where the official ones have no tag."""

TABS = 16
"""`tab` is 0 to 14; anything else takes the last row of its embedding table."""
FM_ONLY_COLUMNS = ("music_id", "music_type")
FM_ONLY_PREFIX = "onehot_feat"


@dataclass(frozen=True)
class CodedColumn:
    """One column of a static table."""

    feature: Feature
    codes: NDArray[np.int64]
    """(N + 1,): of the table's rows, then of an id that the table lacks"""


@dataclass(frozen=True)
class StaticTable:
    """The user or the video table."""

    ids: pd.Index
    """(N,) distinct"""
    columns: tuple[CodedColumn, ...]

    def rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) rows of ids; -1, which picks the last code of a column, for an id that the table lacks."""
        return np.asarray(self.ids.get_indexer(pd.Index(ids)), dtype=np.int64)

    def column(self, name: str) -> CodedColumn | None:
        return next((column for column in self.columns if column.feature.name == name), None)


def read_users(config: KuaiRandData) -> StaticTable:
    """The users with `config.user_columns`."""
    return _read_static(find_tables(config).users, "user_id", config.user_columns)


def read_videos(config: KuaiRandData) -> StaticTable:
    """The videos with `config.item_columns`; of several tags the first counts."""
    return _read_static(find_tables(config).videos, "video_id", config.item_columns)


def _read_static(place: Location, key: str, columns: Sequence[str]) -> StaticTable:
    table = read_table(place, (key, *columns))
    ids, first_rows = np.unique(whole_numbers(table, key, place), return_index=True)
    coded = (code_column(name, _values(table, name, place)[first_rows]) for name in columns)
    return StaticTable(pd.Index(ids), tuple(coded))


def _values(table: pa.Table, column: str, place: Location) -> NDArray[Any]:
    """(N,) texts or numbers of a static column; None or NaN where missing."""
    if column not in TEXT_COLUMNS:
        return numbers(table, column, place)
    values = texts(table, column)
    if column == "tag":
        first = pc.list_element(pc.split_pattern(values, ","), 0)
        values = pc.if_else(pc.equal(first, UNKNOWN_TAG), pa.scalar(None, pa.string()), first)
    return np.asarray(values.to_numpy(), dtype=object)


def code_column(name: str, values: NDArray[Any]) -> CodedColumn:
    """A static column as integers.

    Up to 1,000 distinct values are coded by their order, from 1, with 0 for missing. A column of more ids keeps
    them, with -1 for missing, to be hashed.

    Args:
        name: of the column.
        values: (N,) texts or numbers; None or NaN where missing.
    """
    codes, distinct = pd.factorize(values, sort=True)
    codes, count, missing = codes.astype(np.int64) + 1, len(distinct), MISSING_CODE
    hashed = count > IDENTITY_VALUES
    if hashed and values.dtype != object and np.all(distinct % 1 == 0):
        missing = MISSING_ID
        codes = np.where(codes == MISSING_CODE, missing, np.nan_to_num(values).astype(np.int64))
    feature = Feature(
        name=name,
        kind="categorical",
        rows=hash_rows(count) if hashed else count + 1,
        encoding="hash" if hashed else "identity",
        fm_only=name in FM_ONLY_COLUMNS or name.startswith(FM_ONLY_PREFIX),
    )
    return CodedColumn(feature, np.append(codes, missing))


def hash_rows(distinct: int) -> int:
    """Rows of a hashed embedding table: twice the distinct values, rounded up to whole thousands."""
    return max(1, -(-2 * distinct // 1_000)) * 1_000


def event_features(users: StaticTable, videos: StaticTable) -> tuple[Feature, ...]:
    """All features of an event, in order."""
    histories = [Feature(name="history_video", kind="sequence", shares="video_id", owner="user_id")]
    if videos.column("author_id"):
        histories.append(
            Feature(name="history_author", kind="sequence", shares="author_id", owner="user_id", fm_only=True)
        )
    return (
        Feature(name="user_id", kind="categorical", rows=hash_rows(len(users.ids))),
        Feature(name="video_id", kind="categorical", rows=hash_rows(len(videos.ids))),
        Feature(name="tab", kind="categorical", rows=TABS, encoding="identity"),
        Feature(name="hour", kind="categorical", rows=24, encoding="identity"),
        *(column.feature for column in users.columns),
        *(column.feature for column in videos.columns),
        Feature(name="log_duration", kind="numeric"),
        *histories,
    )


BUILT_IN_FEATURES = ("user_id", "video_id", "tab", "hour", "log_duration", "history_video", "history_author")
