"""One day of synthetic rows in the TaobaoAd setting: as a day partition, and as FuxiCTR's preprocessing leaves it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from taobao_shape import HISTORY_LENGTH, Features, schema_of, synthetic_rows

from exfm_ray.data.encode import column
from exfm_ray.data.lists import elements
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows, write_partition, write_schema
from exfm_ray.schema import Schema, label_column

DAY = 1
LABEL = label_column("click")
PIECE_ROWS = 65_536
BLOCKS = 4


def write_day(place: Path, features: Features, rows: int) -> Schema:
    """Write the partition, by the project's own writer."""
    schema, dataset = schema_of(features), Location.of(str(place))
    write_schema(dataset, schema)
    write_partition(dataset, DAY, _pieces(schema, rows), schema)
    return schema


def write_npz(place: Path, schema: Schema) -> list[str]:
    """The same rows as arrays by column, histories as matrices: `day.npz`, and `blocks/part_K.npz`.

    Returns:
        names of the columns: features in order, the label last.
    """
    names = [*(feature.name for feature in schema.features), LABEL]
    table = pa.concat_tables(read_rows(Location.of(str(place)).day(DAY), names))
    histories = [feature.name for feature in schema.of_kind("sequence")]
    arrays: dict[str, NDArray[np.generic]] = {name: _narrow(table, name, name in histories) for name in names}
    np.savez(place / "day.npz", **arrays)
    (place / "blocks").mkdir()
    edges = np.linspace(0, table.num_rows, BLOCKS + 1).astype(np.int64)
    for block in range(BLOCKS):
        part = {name: values[edges[block] : edges[block + 1]] for name, values in arrays.items()}
        np.savez(place / "blocks" / f"part_{block}.npz", **part)
    return names


def _pieces(schema: Schema, rows: int) -> Iterator[pa.Table]:
    for start in range(0, rows, PIECE_ROWS):
        yield synthetic_rows(schema, start, min(start + PIECE_ROWS, rows))


def _narrow(table: pa.Table, name: str, is_history: bool) -> NDArray[np.generic]:
    """As FuxiCTR's tokenizers give it: ids of 32 bits."""
    if is_history:
        return elements(table, name).reshape(-1, HISTORY_LENGTH).astype(np.int32)
    values = column(table, name)
    return values.astype(np.int32) if values.dtype == np.int64 else values
