"""Day partitions in the TaobaoAd setting, and the same rows in the one file that other libraries read whole."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from taobao_shape import HISTORY_LENGTH, schema_of, synthetic_rows
from train_settings import Setting

from exfm_ray.data.commit import Stopwatch, commit
from exfm_ray.data.encode import column
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows, write_part, write_partition, write_schema
from exfm_ray.schema import EVENT_ID, FM_SNAPSHOT, Schema, label_column, supervision_column

WARM_DAY, MEASURED_DAY = 1, 2
LABEL = label_column("click")
PIECE_ROWS = 65_536


def write_days(place: Path, setting: Setting, rows: Sequence[int], times: int = 1, ids_times: int = 1) -> Schema:
    """Write the partitions, by the project's own writer, and beside each its supervision.

    Args:
        rows: of the day to warm up with and of the day that is measured.
        times: that every table is larger than for the published vocabulary.
        ids_times: that the vocabularies which ids are drawn from are larger than the published ones, at most `times`.
    """
    schema, dataset = schema_of(setting.features, times), Location.of(str(place))
    drawn = schema_of(setting.features, ids_times)
    write_schema(dataset, schema)
    first = 0
    for day, count in zip((WARM_DAY, MEASURED_DAY), rows, strict=True):
        write_partition(dataset, day, _pieces(drawn, setting, first, first + count), schema)
        _write_supervision(dataset, day)
        first += count
    return schema


def supervision_of(dataset: Location, day: int) -> Location:
    return dataset / "supervision" / f"day={day:03d}"


def write_npz(place: Path, schema: Schema) -> None:
    """The rows of both days as other libraries read them, where they are not written yet: one array per feature.

    Histories are filled up with 0 from the left, as FuxiCTR's preprocessing does it.
    """
    names = [*(feature.name for feature in schema.features), LABEL]
    for day in (WARM_DAY, MEASURED_DAY):
        target = place / f"day{day}.npz"
        if target.exists():
            continue
        table = pa.concat_tables(read_rows(Location.of(str(place)).day(day), names))
        arrays: dict[str, NDArray[np.generic]] = {LABEL: column(table, LABEL)}
        for feature in schema.features:
            if feature.kind == "sequence":
                arrays[feature.name] = _padded(table[feature.name].combine_chunks())
            else:
                values = column(table, feature.name)
                arrays[feature.name] = values.astype(np.int32) if feature.kind == "categorical" else values
        np.savez(target, **arrays)


def _pieces(schema: Schema, setting: Setting, first: int, last: int) -> Iterator[pa.Table]:
    for start in range(first, last, PIECE_ROWS):
        yield synthetic_rows(schema, start, min(start + PIECE_ROWS, last), setting.lengths)


def _write_supervision(dataset: Location, day: int) -> None:
    """A pseudo-label for every row, as a published FM would leave it."""
    stopwatch, beside = Stopwatch.start(), supervision_of(dataset, day)
    files = []
    for part, table in enumerate(read_rows(dataset.day(day), [EVENT_ID], PIECE_ROWS)):
        probability = np.random.default_rng(part).random(table.num_rows, dtype=np.float32)
        columns = {
            EVENT_ID: table[EVENT_ID],
            supervision_column("click"): probability,
            FM_SNAPSHOT: pa.array(["fm"] * table.num_rows),
        }
        files.append(write_part(beside, part, pa.table(columns)))
    commit(beside, files, {"day": day}, stopwatch)


def _padded(lists: pa.ListArray) -> NDArray[np.int32]:
    """(B, HISTORY_LENGTH) of B histories."""
    offsets = lists.offsets.to_numpy()
    lengths = np.diff(offsets)
    filled = np.arange(HISTORY_LENGTH) >= HISTORY_LENGTH - lengths[:, None]
    matrix = np.zeros((len(lists), HISTORY_LENGTH), dtype=np.int32)
    matrix[filled] = lists.flatten().to_numpy()
    return matrix
