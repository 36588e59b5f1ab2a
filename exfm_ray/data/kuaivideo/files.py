"""KuaiVideo's official files: the two layouts, and their rows read block by block and checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exfm_ray.config import KuaiVideoData
from exfm_ray.data.location import Location
from exfm_ray.data.logs.line_ranges import LineRange
from exfm_ray.data.logs.text_table import TableBlock, TextTable, text_table
from exfm_ray.data.logs.user_events import PLACE, TIME, USER
from exfm_ray.errors import UserError

RAW, X1 = "train_interaction.txt", ("train.csv", "test.csv")
RAW_COLUMNS = ("user_id", "photo_id", "click", "like", "follow", "time", "playing_time", "duration_time")
"""The official order; the file has no header."""

ITEM = "item"
LABELS = ("click", "like", "follow")
LISTS = ("pos_items", "neg_items")
RAW_NAMES = {"user_id": USER, "photo_id": ITEM, "click": "click", "like": "like", "follow": "follow", "time": TIME}
X1_NAMES = {
    "timestamp": TIME,
    "user_id": USER,
    "item_id": ITEM,
    "is_click": "click",
    "is_like": "like",
    "is_follow": "follow",
}
"""Our name of each column that is read."""
LARGEST = 2.0**53
"""Beyond this a number of 64 bits would not be exact."""
PLACE_BITS = 48


@dataclass(frozen=True)
class KuaiVideoFiles:
    """The text tables of one layout."""

    layout: str
    """raw or x1"""
    tables: tuple[TextTable, ...]
    names: dict[str, str]
    lists: tuple[str, ...]
    """columns of item lists to read"""

    @property
    def places(self) -> list[Location]:
        return [table.place for table in self.tables]


def find_kuaivideo(config: KuaiVideoData) -> KuaiVideoFiles:
    """The tables in a directory, their headers checked.

    Raises:
        UserError: a file or a column is missing, or both layouts are there.
    """
    root = Location.of(config.directory)
    if not root.is_directory():
        found = "is a file" if root.is_file() else "does not exist"
        raise UserError(
            f"data.path: {config.directory!r} {found}; give the directory that holds {RAW}, or {' and '.join(X1)}"
        )
    names = {child.name for child in root.children()}
    raw, train, test = (_named(root, names, name) for name in (RAW, *X1))
    if raw is not None and (train is not None or test is not None):
        raise UserError(f"data.path: {root} holds both {RAW} and KuaiVideo_x1; put one of them into its own directory")
    if raw is not None:
        return _raw(config, raw)
    if train is None or test is None:
        missing = " and ".join(name for name, place in zip(X1, (train, test), strict=True) if place is None)
        raise UserError(f"data.path: {root} lacks {missing}; it needs {RAW}, or {' and '.join(X1)} of KuaiVideo_x1")
    lists = LISTS if config.histories == "published" else ()
    types = _types(X1_NAMES) | dict.fromkeys(lists, pa.string())
    tables = (text_table(place, types, nullable=lists, null_values=[""]) for place in (train, test))
    return KuaiVideoFiles("x1", tuple(tables), X1_NAMES, lists)


def _named(root: Location, names: set[str], name: str) -> Location | None:
    return next((root / candidate for candidate in (name, f"{name}.gz") if candidate in names), None)


def _raw(config: KuaiVideoData, place: Location) -> KuaiVideoFiles:
    if config.histories == "published":
        raise UserError(
            f"data.histories: 'published', but {place} has no lists, only KuaiVideo_x1 has; choose past or none"
        )
    return KuaiVideoFiles("raw", (TextTable(place, RAW_COLUMNS, _types(RAW_NAMES), delimiter="\t"),), RAW_NAMES, ())


def _types(names: dict[str, str]) -> dict[str, pa.DataType]:
    """All as float64, which holds them exactly: some copies of x1 may write 1 as 1.0."""
    return dict.fromkeys(names, pa.float64())


def check_kuaivideo(config: KuaiVideoData) -> None:
    """Read the first rows of each file.

    Raises:
        UserError: a file is missing, or its header or its first rows are wrong.
    """
    files = find_kuaivideo(config)
    for index, table in enumerate(files.tables):
        if next(read_rows_of(files, index, LineRange(table.place, table.begin, table.begin + 1)), None) is None:
            raise UserError(f"data.path: {table.place} has no rows; put the official file there")


def read_rows_of(files: KuaiVideoFiles, index: int, lines: LineRange) -> Iterator[pa.Table]:
    """The rows of a range of one file, by blocks: TIME, USER, ITEM, labels, PLACE and lists.

    Raises:
        UserError: a value is missing or wrong.
    """
    table = files.tables[index]
    for block in table.blocks(lines):
        columns = {ours: _numbers(table, block, name, ours) for name, ours in files.names.items()}
        # rows have a byte at least, so places grow with the order of the file, however it is cut into blocks
        first = (index << PLACE_BITS) + block.lines.begin
        columns[PLACE] = first + np.arange(block.rows.num_rows)
        yield pa.table(columns | {name: _list(table, block, name) for name in files.lists})


def _numbers(table: TextTable, block: TableBlock, name: str, ours: str) -> NDArray[Any]:
    values: NDArray[np.float64] = block.rows[name].to_numpy()
    if ours == TIME:
        wrong, expected = ~((values >= 0) & (values < LARGEST)), "a time from 0 to 2^53"
    elif ours in LABELS:
        wrong, expected = (values != 0) & (values != 1), "0 or 1"
    else:
        wrong, expected = ~((np.abs(values) < LARGEST) & (np.floor(values) == values)), "a whole number up to 2^53"
    if wrong.any():
        raise table.mistake(block, int(wrong.argmax()), name, expected)
    return values if ours == TIME else values.astype(np.int64)


def _list(table: TextTable, block: TableBlock, name: str) -> pa.ListArray:
    """Items joined by ^; nothing is an empty list."""
    texts = block.rows[name].combine_chunks()
    parts = pc.split_pattern(texts, "^")
    lengths = pc.fill_null(pc.list_value_length(parts), 0).to_numpy()
    try:
        items = pc.list_flatten(parts).cast(pa.int64())
    except pa.ArrowInvalid:
        fits = pc.fill_null(pc.match_substring_regex(texts, r"^-?\d{1,18}(\^-?\d{1,18})*$"), True)
        wrong = int((~fits.to_numpy(zero_copy_only=False)).argmax())
        raise table.mistake(block, wrong, name, "ids joined by ^") from None
    return pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), items)
