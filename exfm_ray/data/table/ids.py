"""Event ids of a reader's own table: no two events may share one, in whatever files, days or time slices they are.

They are scattered over buckets by their hash, so that equal ids meet in one bucket, which fits in memory.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.config import CsvData, ParquetData
from exfm_ray.data.commit import Stopwatch, commit, require
from exfm_ray.data.hashing import mixed
from exfm_ray.data.location import Location
from exfm_ray.data.logs.groups import commit_groups, read_group, scattered, write_groups
from exfm_ray.data.logs.line_ranges import GZIP_SUFFIX
from exfm_ray.data.table.chunks import read_piece
from exfm_ray.data.table.events import EventReader, used_columns
from exfm_ray.data.table.files import Piece
from exfm_ray.data.table.runs import Run, read_column
from exfm_ray.data.table.tally import Tally
from exfm_ray.data.table.values import shown
from exfm_ray.errors import UserError
from exfm_ray.schema import EVENT_ID

MOST_BUCKETS = 1_024
UNPACKED = 8
"""times the size of a .gz, about"""


def bucket_count(files: Sequence[Location], pieces: int, piece_bytes: int) -> int:
    """As many buckets as there would be pieces if every piece were of `piece_bytes`, though a .gz is only one."""
    packed = sum(place.size() for place in files if place.name.endswith(GZIP_SUFFIX))
    return min(max(pieces, UNPACKED * packed // piece_bytes), MOST_BUCKETS)


def commit_ids(runs: Sequence[Run], buckets: int, directory: Location) -> None:
    """Scatter the ids of a piece's runs over the buckets."""
    stopwatch = Stopwatch.start()
    ids = (np.asarray(read_column(run, EVENT_ID).to_numpy()) for run in runs)
    files = [
        write_groups(directory, scattered(pa.table({EVENT_ID: of_run}), _buckets_of(of_run, buckets), buckets))
        for of_run in ids
    ]
    commit_groups(directory, files, {}, stopwatch)


def _buckets_of(ids: NDArray[np.int64], buckets: int) -> NDArray[np.uint16]:
    return (mixed(ids.astype(np.uint64)) % np.uint64(buckets)).astype(np.uint16)


def commit_distinct(
    config: CsvData | ParquetData,
    pieces: Sequence[Piece],
    scattered_ids: Sequence[Location],
    bucket: int,
    directory: Location,
) -> None:
    """Say that no id of a bucket is there twice.

    Args:
        pieces: of the table.
        scattered_ids: what `commit_ids` committed of each.

    Raises:
        UserError: one is; it names the id and two places where it stands.
    """
    stopwatch = Stopwatch.start()
    of_piece = [_read(place, bucket) for place in scattered_ids]
    ids = np.sort(np.concatenate(of_piece))
    again = ids[1:][ids[1:] == ids[:-1]]
    if len(again):
        wanted = int(again[0])
        holding = [number for number, held in enumerate(of_piece) if (held == wanted).any()]
        seen = (at for number in holding for at in _places(config, number, pieces[number], wanted))
        raise _mistake(config, next(seen), next(seen))
    commit(directory, [], {}, stopwatch)


def _read(directory: Location, bucket: int) -> NDArray[np.int64]:
    if not require(directory).files:  # the piece has no row of any day
        return np.zeros(0, dtype=np.int64)
    return np.asarray(read_group(directory, bucket)[EVENT_ID].to_numpy())


def _places(config: CsvData | ParquetData, number: int, piece: Piece, wanted: int) -> Iterator[tuple[str, str]]:
    """What stands in the cells that mean an id, and where, in events of the days; reads the piece again."""
    assert config.event_id is not None
    reader = EventReader(config, Tally(), number)
    for chunk in read_piece(piece, config.delimiter, used_columns(config)):
        ids, kept = reader.kept_ids(chunk)
        for row in np.flatnonzero(kept & (ids == wanted)).tolist():
            cells = chunk.cells(config.event_id)
            yield repr(shown(cells.values[row].as_py())), f"{chunk.place}, {chunk.row_name(row)}"


def _mistake(config: CsvData | ParquetData, first: tuple[str, str], second: tuple[str, str]) -> UserError:
    held = f"{first[0]} in {first[1]}, and "
    held += f"in {second[1]}" if first[0] == second[0] else f"{second[0]}, which is the same id, in {second[1]}"
    return UserError(
        f"data.event_id: column {config.event_id!r} holds {held}, but must differ in each row; name another column, or "
        "leave event_id out"
    )
