"""TaobaoAd's two logs, checked and scattered over buckets of users, one byte range of a file at a time."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exfm_ray.config import TaobaoData
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.hashing import mixed
from exfm_ray.data.location import Location
from exfm_ray.data.logs.groups import GroupFile, commit_groups, scattered, write_groups
from exfm_ray.data.logs.line_ranges import LineRange
from exfm_ray.data.logs.text_table import TableBlock, TextTable
from exfm_ray.data.taobao.features import BTAGS, MISSING_ID, PIDS, Integers
from exfm_ray.data.taobao.files import DAY_SECONDS, day_start
from exfm_ray.data.taobao.slices import Sizes

BIN_SECONDS = 300
"""Rows are counted per bin of this length, and days are cut into parts between bins."""

BRAND_BITS, BTAG_BITS = 31, 3
LAST_CATE = 2**28 - 2
LAST_BRAND = 2**31 - 2


def buckets_of(users: Integers, buckets: int) -> NDArray[np.uint16]:
    """(N,) bucket of each user, in [0, buckets)."""
    return (mixed(users.astype(np.uint64)) % np.uint64(buckets)).astype(np.uint16)


def pack_behaviors(cates: Integers, brands: Integers, btags: Integers) -> Integers:
    """(N,) behaviours as one integer each, which sort by category, brand and kind."""
    return ((cates + 1) << (BRAND_BITS + BTAG_BITS)) | ((brands + 1) << BTAG_BITS) | btags


def unpack_behaviors(packed: Integers) -> tuple[Integers, Integers, Integers]:
    """Categories, brands and kinds of packed behaviours, (N,) each."""
    brands = (packed >> BTAG_BITS) & (2**BRAND_BITS - 1)
    return (packed >> (BRAND_BITS + BTAG_BITS)) - 1, brands - 1, packed & (2**BTAG_BITS - 1)


def bins_of(times: Integers, config: TaobaoData) -> Integers:
    """(N,) bins of Unix seconds, from 0 at the beginning of day 1."""
    return (times - day_start(config.first_date)) // BIN_SECONDS


def bin_count(config: TaobaoData) -> int:
    return config.days * DAY_SECONDS // BIN_SECONDS


def scatter_impressions(
    config: TaobaoData, table: TextTable, lines: LineRange, buckets: int, sizes: Sizes, directory: Location
) -> None:
    """Check the impressions of a range and commit them by bucket of their users; `row` counts from the range's first.

    Raises:
        UserError: a line is wrong, a click is not 0 or 1 or contradicts nonclk, or a time is out of range.
    """
    stopwatch = Stopwatch.start()
    types = {"user": np.int32, "time": np.int32, "ad": np.int32, "pid": np.int8, "click": np.int8}
    blocks = (_impressions(config, table, block) for block in table.blocks(lines))
    files: list[GroupFile] = []
    bins, clicks, begin = np.zeros(bin_count(config), dtype=np.int64), 0, 0
    for columns in _chunks(blocks, types, sizes.chunk_rows):
        count = len(columns["user"])
        bins += np.bincount(bins_of(columns["time"].astype(np.int64), config), minlength=len(bins))
        clicks += int(columns["click"].sum())
        columns["row"] = np.arange(begin, begin + count, dtype=np.int32)
        begin += count
        files.append(_written(columns, buckets, directory))
    commit_groups(directory, files, {"bins": bins.tolist(), "clicks": clicks}, stopwatch)


def _impressions(config: TaobaoData, table: TextTable, block: TableBlock) -> dict[str, Any]:
    rows = {name: block.rows[name].to_numpy() for name in ("user", "time_stamp", "adgroup_id", "nonclk", "clk")}
    pids = pc.index_in(block.rows["pid"], pa.array(PIDS)).fill_null(-1).to_numpy()
    begin = day_start(config.first_date)
    times = rows["time_stamp"]
    for column, wrong, expected in (
        (
            "time_stamp",
            (times < begin) | (times >= begin + config.days * DAY_SECONDS),
            f"seconds from {config.first_date} to {config.last_date} in Asia/Shanghai, as data.first_date and "
            "data.last_date say",
        ),
        ("clk", (rows["clk"] != 0) & (rows["clk"] != 1), "0 or 1"),
        ("nonclk", rows["nonclk"] + rows["clk"] != 1, "1 - clk"),
        ("pid", pids < 0, " or ".join(PIDS)),
    ):
        require_rows(table, block, column, wrong, expected)
    return {"user": rows["user"], "time": times, "ad": rows["adgroup_id"], "pid": pids, "click": rows["clk"]}


def scatter_behaviors(
    config: TaobaoData, table: TextTable, lines: LineRange, buckets: int, sizes: Sizes, directory: Location
) -> None:
    """Check the behaviours of a range and commit them by bucket; those with a nonsense time are dropped and counted.

    Raises:
        UserError: a line is wrong.
    """
    stopwatch = Stopwatch.start()
    types = {"user": np.int32, "time": np.int64, "behavior": np.int64}
    blocks = (_behaviors(table, block) for block in table.blocks(lines))
    begin, end = day_start(config.behaviors_from), day_start(config.first_date) + config.days * DAY_SECONDS
    files: list[GroupFile] = []
    dropped = 0
    for columns in _chunks(blocks, types, sizes.chunk_rows):
        kept = (columns["time"] >= begin) & (columns["time"] < end)
        dropped += len(kept) - int(kept.sum())
        columns = {name: values[kept] for name, values in columns.items()}
        columns["time"] = columns["time"].astype(np.int32)
        files.append(_written(columns, buckets, directory))
    commit_groups(directory, files, {"nonsense_times": dropped}, stopwatch)


def _behaviors(table: TextTable, block: TableBlock) -> dict[str, Any]:
    kinds = pc.index_in(block.rows["btag"], pa.array(BTAGS)).fill_null(-1).to_numpy()
    cates, brands = (block.rows[name].fill_null(MISSING_ID).to_numpy().astype(np.int64) for name in ("cate", "brand"))
    require_rows(table, block, "btag", kinds < 0, " or ".join(BTAGS))
    require_rows(table, block, "cate", (cates < MISSING_ID) | (cates > LAST_CATE), f"0 to {LAST_CATE}")
    require_rows(table, block, "brand", (brands < MISSING_ID) | (brands > LAST_BRAND), f"0 to {LAST_BRAND}")
    return {
        "user": block.rows["user"].to_numpy(),
        "time": block.rows["time_stamp"].fill_null(-1).to_numpy(),
        "behavior": pack_behaviors(cates, brands, kinds.astype(np.int64) + 1),
    }


def require_rows(table: TextTable, block: TableBlock, column: str, wrong: NDArray[np.bool_], expected: str) -> None:
    """Refuse the first wrong row of a block.

    Raises:
        UserError: there is one.
    """
    if wrong.any():
        raise table.mistake(block, int(wrong.argmax()), column, expected)


def _chunks(
    blocks: Iterable[dict[str, Any]], types: Mapping[str, type], chunk_rows: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """Columns of many blocks together, each of its type: one chunk at least, and each soon after it has enough rows."""
    held: list[dict[str, Any]] = []
    count, none = 0, True
    for columns in blocks:
        held.append(columns)
        count += len(columns["user"])
        if count >= chunk_rows:
            yield _joined(held, types)
            held, count, none = [], 0, False
    if held or none:
        yield _joined(held, types)


def _joined(blocks: list[dict[str, Any]], types: Mapping[str, type]) -> dict[str, NDArray[Any]]:
    return {
        name: np.concatenate([np.empty(0, kind), *(columns[name] for columns in blocks)], dtype=kind, casting="unsafe")
        for name, kind in types.items()
    }


def _written(columns: dict[str, NDArray[Any]], buckets: int, directory: Location) -> GroupFile:
    groups = scattered(pa.table(columns), buckets_of(columns["user"], buckets), buckets)
    return write_groups(directory, groups)
