"""Histories of a partition's rows in a file beside them: users' once in a block, read as lists, checked."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exfm_ray.data import history_file
from exfm_ray.data.commit import Stopwatch, commit, committed, require, sweep
from exfm_ray.data.history_file import ELEMENT
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import (
    arrow_schema,
    commit_partition,
    read_rows,
    write_part,
    write_partition,
    write_partition_part,
)
from exfm_ray.errors import DataError
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, STAGE, Feature, Schema

SEEN, BOUGHT = "seen", "bought"
USER = Feature(name="user", kind="categorical", rows=100)
ITEM = Feature(name="item", kind="categorical", rows=1_000)
SCHEMA = Schema(
    features=(
        USER,
        ITEM,
        Feature(name=SEEN, kind="sequence", shares="item", owner="user"),
        Feature(name=BOUGHT, kind="sequence", shares="item"),
    ),
    tasks=("click",),
    domains=("all",),
    stages=("later",),
)
NAMES = arrow_schema(SCHEMA).names


def day_table(rows: int, users: int, first: int = 0) -> pa.Table:
    """Every user comes back in turn, with one more item seen each time; the last eight are kept."""
    places = np.arange(first, first + rows)
    columns = {
        EVENT_ID: places,
        EVENT_TIME: places,
        DOMAIN: np.zeros(rows, np.int16),
        STAGE: np.zeros(rows, np.int16),
        "user": places % users,
        "item": places,
        SEEN: [[1_000 * (p % users) + i for i in range(max(0, p // users - 7), p // users + 1)] for p in places],
        BOUGHT: [list(range(p % 3)) for p in places],
        "label_click": np.zeros(rows, np.int8),
    }
    return pa.table(columns).cast(arrow_schema(SCHEMA))


def whole(place: Location, names: list[str] = NAMES, rows: int = 10**6) -> pa.Table:
    return pa.concat_tables(read_rows(place.day(1), names, rows)).combine_chunks()


def stored(place: Location) -> pq.ParquetFile:
    """The histories of the day's first file."""
    (file, *_) = require(place.day(1)).files
    assert file.beside is not None
    return pq.ParquetFile((place.day(1) / file.beside.name).uri)


@pytest.fixture
def dataset(tmp_path: Path) -> Location:
    return Location.of(str(tmp_path / "days"))


@pytest.mark.parametrize("block", [2**19, 700])
@pytest.mark.parametrize("rows", [1, 64, 333, 10_000])
def test_histories_come_back_as_lists(
    dataset: Location, monkeypatch: pytest.MonkeyPatch, rows: int, block: int
) -> None:
    monkeypatch.setattr(history_file, "BLOCK_ELEMENTS", block)
    slices = [day_table(1_000, 30), day_table(50, 30, 1_000)]
    write_partition(dataset, 1, slices, SCHEMA)
    tables = list(read_rows(dataset.day(1), NAMES, rows))
    assert all(table.num_rows == rows for table in tables[:-1])
    assert pa.concat_tables(tables).schema.equals(arrow_schema(SCHEMA))
    assert pa.concat_tables(tables).to_pydict() == pa.concat_tables(slices).to_pydict()


def test_a_users_histories_are_stored_once_per_block(dataset: Location) -> None:
    write_partition(dataset, 1, [day_table(1_000, 20)], SCHEMA)
    file = stored(dataset)
    seen, bought = (file.metadata.row_group(group).num_rows for group in (0, 1))
    assert file.num_row_groups == 2
    assert seen == 1_000  # of 7,440 that the lists have: each row adds one
    assert bought == sum(p % 3 for p in range(1_000))


def test_a_block_is_a_row_group_of_both_files(dataset: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "BLOCK_ELEMENTS", 600)
    table = day_table(1_000, 20)
    write_partition(dataset, 1, [table], SCHEMA)
    (file,) = require(dataset.day(1)).files
    groups = pq.ParquetFile((dataset.day(1) / file.name).uri).metadata
    assert [groups.row_group(index).num_rows for index in range(4)] == [256, 256, 256, 232]
    histories = stored(dataset)
    seen = [histories.metadata.row_group(index).num_rows for index in range(0, 8, 2)]
    assert histories.num_row_groups == 8
    assert seen == [256, 140 + 256, 140 + 256, 140 + 232]  # of users who come back in another block, seven more
    assert histories.read_row_group(2)[ELEMENT].to_pylist()[:8] == table[SEEN].to_pylist()[260]


def test_rows_with_more_elements_than_a_block_are_blocks_of_their_own(
    dataset: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_file, "BLOCK_ELEMENTS", 1)
    table = day_table(90, 10)
    write_partition(dataset, 1, [table], SCHEMA)
    assert stored(dataset).num_row_groups == 90 * 2
    assert whole(dataset).to_pydict() == table.to_pydict()


def test_other_columns_are_read_without_the_histories(dataset: Location) -> None:
    table = day_table(100, 20)
    write_partition(dataset, 1, [table], SCHEMA)
    (file,) = require(dataset.day(1)).files
    assert file.beside is not None
    (dataset.day(1) / file.beside.name).delete()
    assert whole(dataset, ["item", EVENT_ID]).equals(table.select(["item", EVENT_ID]).combine_chunks())
    with pytest.raises(FileNotFoundError, match="committed and is gone"):
        whole(dataset, [BOUGHT])


def test_one_history_alone_is_read(dataset: Location) -> None:
    table = day_table(100, 20)
    write_partition(dataset, 1, [table], SCHEMA)
    assert whole(dataset, [BOUGHT, "item"]).to_pydict() == table.select([BOUGHT, "item"]).to_pydict()


def test_days_whose_histories_are_lists_are_read(dataset: Location) -> None:
    tables = [day_table(100, 20), day_table(100, 20, 100)]
    files = [write_part(dataset.day(1), 0, tables[0]), write_partition_part(dataset.day(1), 1, tables[1], SCHEMA)]
    commit_partition(dataset.day(1), files, 1, SCHEMA, Stopwatch.start())
    assert whole(dataset).to_pydict() == pa.concat_tables(tables).to_pydict()


def test_a_part_without_rows_is_read(dataset: Location) -> None:
    write_partition(dataset, 1, [day_table(0, 1), day_table(3, 2)], SCHEMA)
    assert whole(dataset).to_pydict() == day_table(3, 2).to_pydict()


def test_users_without_histories_are_read(dataset: Location) -> None:
    nothing = pa.array([[]] * 4, pa.list_(pa.int64()))
    table = day_table(4, 2).set_column(6, SEEN, nothing).set_column(7, BOUGHT, nothing)
    write_partition(dataset, 1, [table], SCHEMA)
    assert whole(dataset).to_pydict() == table.to_pydict()


def test_changed_histories_are_noticed(dataset: Location) -> None:
    write_partition(dataset, 1, [day_table(100, 20)], SCHEMA)
    (file,) = require(dataset.day(1)).files
    assert file.beside is not None
    place = dataset.day(1) / file.beside.name
    content = bytearray(place.read())
    content[len(content) // 2] ^= 1
    place.write(bytes(content))
    with pytest.raises(DataError, match=r"histories-.* has changed since it was committed"):
        whole(dataset)


def test_a_manifest_without_the_histories_is_refused(dataset: Location) -> None:
    file = write_partition_part(dataset.day(1), 0, day_table(10, 2), SCHEMA)
    commit(dataset.day(1), [file.model_copy(update={"beside": None})], {}, Stopwatch.start())
    with pytest.raises(DataError, match="needs a file of histories, and its manifest names none"):
        whole(dataset)


def test_sweeping_keeps_the_histories_that_a_manifest_names(dataset: Location) -> None:
    left_over = write_partition_part(dataset.day(1), 0, day_table(10, 2), SCHEMA)
    write_partition(dataset, 1, [day_table(10, 2)], SCHEMA)
    sweep(dataset.day(1))
    kept = {child.name for child in dataset.day(1).children()}
    (file,) = require(dataset.day(1)).files
    assert kept == {"manifest.json", *file.names}
    assert len(file.names) == len(file.checksums) == 2
    assert not kept & {*left_over.names}


@pytest.mark.parametrize("lists", [[[1], None], [[1], [2, None]]])
def test_missing_histories_are_refused(dataset: Location, lists: list[list[int | None] | None]) -> None:
    table = day_table(2, 2).set_column(7, BOUGHT, pa.array(lists, pa.list_(pa.int64())))
    with pytest.raises(DataError, match=r"column bought has 1 nulls.*fill them when preparing"):
        write_partition(dataset, 1, [table], SCHEMA)
    assert committed(dataset.day(1)) is None


def test_what_says_whose_a_history_is_does_not_make_another_data_set() -> None:
    unowned = tuple(feature.model_copy(update={"owner": None}) for feature in SCHEMA.features)
    assert SCHEMA.model_copy(update={"features": unowned}).fingerprint() == SCHEMA.fingerprint()
    assert SCHEMA.without(["item", SEEN, BOUGHT]).fingerprint() != SCHEMA.fingerprint()
    assert SCHEMA.without(["user"]).features[1].owner == "user"  # a model that reads no user reads the histories
