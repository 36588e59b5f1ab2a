"""The file that holds the histories of a part's rows, in which the rows say where theirs begin and how long they are.

A reader of Parquet walks each element of a list with its levels, and copies a flat column: so elements lie flat, and
take half the time. And a user whose rows come back is stored once: in blocks of rows, a user's elements lie end to end,
and each of the user's histories is a window into them. A block is a row group of the rows' file and, in this one, a row
group for each feature, so that a reader holds one block at a time whatever the size of a day.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from exfm_ray.data.lists import lists_of
from exfm_ray.data.windows import Windows

ELEMENT = "element"
BEGIN, LENGTH = "begin", "length"
PLACE = pa.struct([pa.field(BEGIN, pa.int32(), nullable=False), pa.field(LENGTH, pa.int32(), nullable=False)])
"""what stands in the rows' file for a history: its window into the elements of the block"""

BLOCK_ELEMENTS = 2**19
"""of a feature that a block has at most, unless one row has more; 4 MiB in memory"""


def is_place(kind: pa.DataType) -> bool:
    """Whether a column says where histories are."""
    return pa.types.is_struct(kind) and [field.name for field in kind] == [BEGIN, LENGTH]


def taken_apart(table: pa.Table, owners: Mapping[str, str | None], most: int) -> tuple[pa.Table, int, list[pa.Table]]:
    """Rows whose histories are places, how many of them are a block, and the elements of each block and feature.

    Args:
        owners: of each history the column that says whose it is; None where nothing does.
        most: rows of a block, a power of two; halved until a block's elements are few enough.

    Raises:
        DataError: a history, or an element of one, is missing.
    """
    rows = most
    while True:
        table_of_places, elements = _in_blocks(table, owners, rows)
        largest = max(block.num_rows for block in elements)
        if largest <= BLOCK_ELEMENTS or rows == 1:
            return table_of_places, rows, elements
        rows = 2 ** int(math.log2(max(1, rows * BLOCK_ELEMENTS // largest)))


def _in_blocks(table: pa.Table, owners: Mapping[str, str | None], rows: int) -> tuple[pa.Table, list[pa.Table]]:
    places: dict[str, list[pa.StructArray]] = {name: [] for name in owners}
    elements = []
    for start in range(0, table.num_rows, rows):
        block = table.slice(start, rows)
        for name, owner in owners.items():
            keys = None if owner is None else np.asarray(block[owner].to_numpy())
            windows = Windows.of(lists_of(block, name), keys)
            begin, length = (pa.array(numbers.astype(np.int32)) for numbers in (windows.begins, windows.lengths))
            places[name].append(pa.StructArray.from_arrays([begin, length], fields=list(PLACE)))
            elements.append(pa.table({ELEMENT: windows.elements}))
    for name, chunks in places.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.chunked_array(chunks, PLACE))
    return table, elements


class HistoryReader:
    """Reads the histories of one block at a time."""

    def __init__(self, file: pq.ParquetFile, features: Sequence[str]) -> None:
        """
        Args:
            features: all that the file has, in order.
        """
        self._file = file
        self._features = list(features)
        self._block = -1
        self._elements: dict[str, NDArray[np.int64]] = {}

    def put_together(self, rows: pa.Table, block: int) -> pa.Table:
        """Rows of a block with their histories as lists instead of places."""
        if block != self._block:
            self._block, self._elements = block, {}
        for index, field in enumerate(rows.schema):
            if is_place(field.type):
                lists = [self._lists(place, block, field.name) for place in rows.column(index).chunks]
                rows = rows.set_column(index, field.name, pa.chunked_array(lists, pa.list_(pa.int64())))
        return rows

    def _lists(self, places: pa.StructArray, block: int, name: str) -> pa.ListArray:
        begins, lengths = (part.to_numpy().astype(np.int64) for part in places.flatten())
        return Windows(self._of(block, name), begins, lengths).lists()

    def _of(self, block: int, name: str) -> NDArray[np.int64]:
        if name not in self._elements:
            group = block * len(self._features) + self._features.index(name)
            column = self._file.read_row_group(group, columns=[ELEMENT])[ELEMENT]
            self._elements[name] = np.asarray(column.to_numpy())
        return self._elements[name]
