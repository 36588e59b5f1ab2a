"""TaobaoAd's two static tables: what each user and each ad is. They fit in memory; the logs need not."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exfm_ray.data.commit import Stopwatch, commit, read_file, require
from exfm_ray.data.location import Location
from exfm_ray.data.logs.text_table import TextTable
from exfm_ray.data.partitions import write_part
from exfm_ray.data.taobao.features import LEVELS, MISSING_ID, Integers, coded
from exfm_ray.data.taobao.files import AD_IDS, USER_ATTRIBUTES


@dataclass(frozen=True)
class Profiles:
    """One of the tables, looked up by id."""

    ids: Integers
    """(N,) distinct, ascending"""
    columns: dict[str, Any]
    """(N + 1,) each: of the table's rows, then of an id that the table lacks"""

    def rows_of(self, ids: Integers) -> Integers:
        """(B,) rows of ids; -1, which picks the last value of a column, for an id that the table lacks."""
        rows = np.searchsorted(self.ids, ids)
        rows[rows == len(self.ids)] = -1
        rows[self.ids[rows] != ids] = -1
        return rows


def commit_users(table: TextTable, directory: Location) -> None:
    """Read user_profile.csv, or its kin, and commit it by ascending id.

    Raises:
        UserError: a line is wrong.
    """
    levels = {"levels_read_as_missing": 0}

    def columns(rows: pa.Table) -> dict[str, Any]:
        found = {}
        for column in USER_ATTRIBUTES:
            found[column], odd = coded(column, rows[column])
            levels["levels_read_as_missing"] += odd
        return found

    _commit(table, "userid", columns, levels, directory)


def commit_ads(table: TextTable, directory: Location) -> None:
    """Read ad_feature.csv and commit it by ascending id; the price as the model reads it, log(1 + price).

    Raises:
        UserError: a line is wrong.
    """

    def columns(rows: pa.Table) -> dict[str, Any]:
        found = {name: rows[name].fill_null(MISSING_ID).to_numpy() for name in AD_IDS}
        return found | {"price": np.log1p(np.maximum(rows["price"].fill_null(0).to_numpy(), 0)).astype(np.float32)}

    _commit(table, "adgroup_id", columns, {}, directory)


def _commit(
    table: TextTable,
    key: str,
    columns: Callable[[pa.Table], dict[str, Any]],
    about: dict[str, int],
    directory: Location,
) -> None:
    stopwatch = Stopwatch.start()
    blocks = (block.rows for lines in table.ranges() for block in table.blocks(lines))
    read = [pa.table({key: rows[key], **columns(rows)}) for rows in (table.no_rows(), *blocks)]
    rows = pa.concat_tables(read)
    _, first = np.unique(rows[key].to_numpy(), return_index=True)
    distinct = rows.take(pa.array(first))
    repeated = {"repeated_rows_dropped": rows.num_rows - distinct.num_rows}
    commit(directory, [write_part(directory, 0, distinct)], about | repeated, stopwatch)


@lru_cache(maxsize=1)
def read_users(directory: Location) -> Profiles:
    """The committed users, once per process."""
    missing = {column: LEVELS[column].missing for column in USER_ATTRIBUTES}
    return _read(directory, "userid", missing)


@lru_cache(maxsize=1)
def read_ads(directory: Location) -> Profiles:
    """The committed ads, once per process."""
    return _read(directory, "adgroup_id", dict.fromkeys(AD_IDS, MISSING_ID) | {"price": 0})


def _read(directory: Location, key: str, missing: dict[str, int]) -> Profiles:
    manifest = require(directory)
    rows = pq.read_table(pa.BufferReader(read_file(directory, manifest.files[0])), use_threads=False)
    values = {name: rows[name].to_numpy() for name in missing}
    columns = {name: np.append(values[name], values[name].dtype.type(of)) for name, of in missing.items()}
    return Profiles(rows[key].to_numpy().astype(np.int64), columns)
