"""Synthetic TaobaoAd files in the official formats, written in pieces so that memory stays small."""

from collections.abc import Iterator
from datetime import date
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from exfm_ray.data.hashing import mixed
from exfm_ray.data.taobao.features import BTAGS, PIDS
from exfm_ray.data.taobao.files import DAY_SECONDS, USER_ATTRIBUTES, X1_TYPES, day_start

Integers = NDArray[np.int64]

IMPRESSIONS_PER_USER = 23
"""As published: 26,557,961 of 1,141,729 users."""
PIECE_ROWS = 500_000
HISTORY = 50
FIRST, BEHAVIORS_FROM, DAYS = day_start(date(2017, 5, 6)), day_start(date(2017, 4, 22)), 8
CATES, BRANDS, CAMPAIGNS, CUSTOMERS = 12_960, 461_497, 423_436, 255_875
CLICK_RATE, WITHOUT_PROFILE, WITHOUT_BRAND = 0.0514, 0.05, 0.29


def write_raw(directory: Path, impressions: int, behaviors: int) -> None:
    """The four raw files.

    Impressions come in sessions and are ordered by ad; behaviours of a user go to 16 categories of his, with a few
    brands each; 7 of 100 behaviours are copies of others.
    """
    users, ads = max(impressions // IMPRESSIONS_PER_USER, 10), max(impressions // 30, 10)
    _write(directory / "raw_sample.csv", _impressions(impressions, users, ads))
    _write(directory / "behavior_log.csv", _behaviors(behaviors, users))
    _write(directory / "ad_feature.csv", iter([_ads(ads)]))
    _write(directory / "user_profile.csv", iter([_users(users)]))


def write_x1(directory: Path, rows: int) -> None:
    """train.csv and test.csv of x1, seven rows in the one for one in the other; every history has its 50 elements."""
    users, ads = max(rows // IMPRESSIONS_PER_USER, 10), max(rows // 30, 10)
    _write(directory / "train.csv", _x1(rows * 7 // 8, users, ads, 5))
    _write(directory / "test.csv", _x1(rows - rows * 7 // 8, users, ads, 6))


def _write(place: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with csv.CSVWriter(place, first.schema, write_options=csv.WriteOptions(quoting_style="none")) as writer:
        for table in chain([first], tables):
            writer.write_table(table)


def _pieces(rows: int, piece_rows: int = PIECE_ROWS) -> Iterator[tuple[int, int]]:
    """Number of each piece, and its rows."""
    for piece, begin in enumerate(range(0, rows, piece_rows)):
        yield piece, min(piece_rows, rows - begin)


def _hashed(keys: Integers, values: int) -> Integers:
    """The same value from 1 to `values` for the same key."""
    return (mixed(keys.astype(np.uint64)) % np.uint64(values)).astype(np.int64) + 1


def _skewed(rng: np.random.Generator, size: int, values: int) -> Integers:
    """From 1 to `values`, small ones more often."""
    return (values * rng.random(size) ** 3).astype(np.int64) + 1


def _words(codes: Integers, words: tuple[str, ...]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(codes.astype(np.int8), list(words)).cast(pa.string())


def _impressions(rows: int, users: int, ads: int) -> Iterator[pa.Table]:
    pieces = -(-rows // PIECE_ROWS)
    for piece, size in _pieces(rows):
        rng = np.random.default_rng((1, piece))
        user = rng.integers(1, users + 1, size)
        session = _hashed(user * 8 + rng.integers(0, 8, size), DAYS * DAY_SECONDS - 600) - 1
        ad = np.sort((ads * ((piece + rng.random(size)) / pieces) ** 3).astype(np.int64)) + 1
        click = (rng.random(size) < CLICK_RATE).astype(np.int64)
        time = FIRST + session + rng.integers(0, 600, size)
        pid = _words(rng.integers(0, 2, size), PIDS)
        yield pa.table(
            {"user": user, "time_stamp": time, "adgroup_id": ad, "pid": pid, "nonclk": 1 - click, "clk": click}
        )


def _behaviors(rows: int, users: int) -> Iterator[pa.Table]:
    for piece, size in _pieces(rows):
        rng = np.random.default_rng((2, piece))
        user = rng.integers(1, users + 1, size)
        cate = _hashed(user * 16 + rng.integers(0, 16, size), CATES)
        brand = _hashed(cate * 32 + _skewed(rng, size, 32), BRANDS)
        time = rng.integers(BEHAVIORS_FROM, FIRST + DAYS * DAY_SECONDS, size)
        kinds = rng.choice(4, size, p=[0.951, 0.024, 0.014, 0.011])
        table = pa.table({"user": user, "time_stamp": time, "btag": _words(kinds, BTAGS), "cate": cate, "brand": brand})
        copied = rng.random(size) < 0.07
        places = np.where(copied, rng.integers(0, size, size), np.arange(size))
        yield table.take(pa.array(places))


def _ads(ads: int) -> pa.Table:
    rng = np.random.default_rng(3)
    brand = pa.array(rng.integers(1, BRANDS, ads)).cast(pa.string())
    ids = {"cate_id": CATES, "campaign_id": CAMPAIGNS, "customer": CUSTOMERS}
    return pa.table(
        {
            "adgroup_id": np.arange(1, ads + 1),
            **{name: rng.integers(1, values, ads) for name, values in ids.items()},
            "brand": pc.if_else(pa.array(rng.random(ads) < WITHOUT_BRAND), "NULL", brand),
            "price": np.round(np.exp(rng.normal(4, 1.5, ads)), 2),
        }
    )


def _user_attributes(rng: np.random.Generator, size: int) -> dict[str, NDArray[np.int64]]:
    limits = ((0, 97), (0, 13), (1, 3), (0, 7), (1, 4), (1, 4), (0, 2), (1, 5))
    return {name: rng.integers(*limit, size) for name, limit in zip(USER_ATTRIBUTES, limits, strict=True)}


def _users(users: int) -> pa.Table:
    rng = np.random.default_rng(4)
    ids = np.flatnonzero(rng.random(users) >= WITHOUT_PROFILE) + 1
    columns: dict[str, object] = {"userid": ids, **_user_attributes(rng, len(ids))}
    for name, missing in (("pvalue_level", 0.54), ("new_user_class_level", 0.32)):
        columns[name] = pa.array(columns[name], mask=rng.random(len(ids)) < missing)
    columns["new_user_class_level "] = columns.pop("new_user_class_level")
    return pa.table(columns)


def _x1(rows: int, users: int, ads: int, seed: int) -> Iterator[pa.Table]:
    for piece, size in _pieces(rows, PIECE_ROWS // HISTORY):
        rng = np.random.default_rng((seed, piece))
        user, ad = rng.integers(1, users + 1, size), _skewed(rng, size, ads)
        cates = _hashed(np.repeat(user * 16, HISTORY) + rng.integers(0, 16, size * HISTORY), CATES)
        brands = _hashed(cates * 32 + _skewed(rng, size * HISTORY, 32), BRANDS)
        kinds = rng.choice(4, size * HISTORY, p=[0.951, 0.024, 0.014, 0.011]) + 1
        columns = {
            "clk": (rng.random(size) < CLICK_RATE).astype(np.int64),
            "btag_his": _joined(kinds),
            "cate_his": _joined(cates),
            "brand_his": _joined(brands),
            "userid": user,
            **_user_attributes(rng, size),
            "adgroup_id": ad,
            "cate_id": _hashed(ad * 5, CATES),
            "campaign_id": _hashed(ad * 5 + 1, CAMPAIGNS),
            "customer": _hashed(ad * 5 + 2, CUSTOMERS),
            "brand": _hashed(ad * 5 + 3, BRANDS),
            "price": rng.random(size),
            "pid": rng.integers(0, 2, size),
            "btag": np.ones(size, dtype=np.int64),
        }
        assert columns.keys() == X1_TYPES.keys()
        yield pa.table(columns)


def _joined(values: Integers) -> pa.Array:
    """Texts of 50 values each."""
    offsets = np.arange(0, len(values) + 1, HISTORY, dtype=np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(offsets, pa.array(values).cast(pa.string())), "^")
