"""From committed rows to batches: order, alignment, encoding."""

import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exfm_ray.data.batches import Batch, day_batches, resized
from exfm_ray.data.commit import Stopwatch, commit
from exfm_ray.data.encode import encode, table_rows
from exfm_ray.data.hashing import mixed
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema, read_rows, rebatch, write_part, write_partition
from exfm_ray.data.traffic import Traffic
from exfm_ray.errors import DataError
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, FM_SNAPSHOT, STAGE, Feature, Schema

ROWS = 1_000


def day_table(schema: Schema, rows: int = ROWS, start: int = 0) -> pa.Table:
    generator = np.random.default_rng(start)
    lengths = generator.integers(0, 4, rows)
    columns = {
        EVENT_ID: np.arange(start, start + rows),
        EVENT_TIME: np.arange(start, start + rows) * 7,
        DOMAIN: generator.integers(0, 2, rows).astype(np.int16),
        STAGE: np.zeros(rows, np.int16),
        "user": generator.integers(0, 10**12, rows),
        "item": generator.integers(0, 10**12, rows),
        "hour": generator.integers(0, 24, rows),
        "price": generator.random(rows).astype(np.float32),
        "history": pa.array([list(range(n)) for n in lengths], pa.list_(pa.int64())),
        "costly": generator.random(rows).astype(np.float32),
        "label_click": generator.integers(0, 2, rows).astype(np.int8),
        "label_like": generator.integers(0, 2, rows).astype(np.int8),
    }
    return pa.table(columns).cast(arrow_schema(schema))


def write_supervision(place: Location, ids: np.ndarray) -> None:
    table = pa.table(
        {
            EVENT_ID: ids,
            "fm_click": (ids / 10_000).astype(np.float32),
            "fm_like": np.zeros(len(ids), np.float32),
            FM_SNAPSHOT: ["fm/day=000"] * len(ids),
        }
    )
    commit(place, [write_part(place, 0, table)], {}, Stopwatch.start())


@pytest.fixture
def dataset(tmp_path: Path, small_schema: Schema) -> Location:
    place = Location.of(str(tmp_path / "days"))
    write_partition(place, 1, [day_table(small_schema), day_table(small_schema, ROWS, ROWS)], small_schema)
    return place


@pytest.mark.parametrize("size", [1, 3, 7, 10, 100])
def test_rebatching_keeps_rows_and_sizes(size: int) -> None:
    whole = pa.table({"a": list(range(20))})
    tables = [whole.slice(start, stop - start) for start, stop in ((0, 4), (4, 4), (4, 11), (11, 20))]
    parts = list(rebatch(tables, size))
    assert [value for part in parts for value in part["a"].to_pylist()] == list(range(20))
    assert all(part.num_rows == size for part in parts[:-1])


@pytest.mark.parametrize("rows", [64, 999, 5_000])
def test_reading_keeps_order_across_files(dataset: Location, rows: int) -> None:
    tables = list(read_rows(dataset.day(1), [EVENT_ID], rows))
    assert np.array_equal(np.concatenate([table[EVENT_ID].to_numpy() for table in tables]), np.arange(2 * ROWS))
    assert all(table.num_rows == rows for table in tables[:-1])


def test_rows_out_of_time_order_are_refused(tmp_path: Path, small_schema: Schema) -> None:
    table = day_table(small_schema)
    with pytest.raises(DataError, match="not in event-time order"):
        write_partition(Location.of(str(tmp_path)), 1, [table.take(list(range(ROWS))[::-1])], small_schema)


def test_other_columns_are_refused(tmp_path: Path, small_schema: Schema) -> None:
    with pytest.raises(DataError, match="has columns"):
        write_partition(Location.of(str(tmp_path)), 1, [day_table(small_schema).drop(["price"])], small_schema)


def test_a_shorter_file_than_committed_is_noticed(dataset: Location) -> None:
    manifest = next(child for child in dataset.day(1).children() if child.name == "manifest.json")
    manifest.write(manifest.read().replace(b'"rows": 1000', b'"rows": 1001', 1))
    with pytest.raises(DataError, match="has 1000 rows but its manifest says 1001"):
        list(read_rows(dataset.day(1), [EVENT_ID]))


@pytest.mark.parametrize("size", [64, 333, 10_000])
def test_batches_of_a_vm_are_its_rows_in_order(dataset: Location, small_schema: Schema, size: int) -> None:
    write_supervision(dataset / "side", np.arange(2 * ROWS))
    traffic = Traffic(dataset, small_schema.for_vm(), ("click",), domain=1, stage=0)
    batches = list(day_batches(traffic, 1, size, dataset / "side"))
    assert all(len(batch) == size for batch in batches[:-1])
    whole = pa.concat_tables(read_rows(dataset.day(1), [EVENT_ID, DOMAIN, "label_click", "price", "history"]))
    mine = whole.filter(pa.array(whole[DOMAIN].to_numpy() == 1))
    expected = mine[EVENT_ID].to_numpy() / np.float64(10_000)
    probabilities = torch.cat([batch.fm_probs[:, 0] for batch in batches if batch.fm_probs is not None]).numpy()
    assert np.array_equal(probabilities, expected.astype(np.float32))
    assert torch.cat([batch.labels[:, 0] for batch in batches]).tolist() == mine["label_click"].to_pylist()
    assert torch.cat([batch.inputs.numeric[:, 0] for batch in batches]).tolist() == mine["price"].to_pylist()
    lengths = [n for batch in batches for n in batch.inputs.sequences[0].offsets.diff().tolist()]
    assert lengths == [len(history) for history in mine["history"].to_pylist()]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.arange(2 * ROWS)[::-1], "not row-aligned"),
        (np.arange(2 * ROWS - 1), "not row-aligned"),
        (np.arange(1, 2 * ROWS + 1), "not row-aligned"),
        (np.arange(2 * ROWS + 70_000), "not row-aligned"),
    ],
    ids=["reversed", "short", "shifted", "long"],
)
def test_a_side_car_of_other_rows_is_refused(
    dataset: Location, small_schema: Schema, ids: np.ndarray, message: str
) -> None:
    write_supervision(dataset / "side", np.ascontiguousarray(ids))
    traffic = Traffic(dataset, small_schema, small_schema.tasks)
    with pytest.raises(DataError, match=message):
        list(day_batches(traffic, 1, 64, dataset / "side"))


def test_a_vm_cannot_read_what_is_for_the_fm_alone(small_schema: Schema) -> None:
    assert "costly" in {feature.name for feature in small_schema.features}
    assert "costly" not in {feature.name for feature in small_schema.for_vm().features}


@pytest.mark.parametrize("name", ["label_click", "truth_click", "fm_click", "delay_click"])
def test_no_feature_may_be_an_answer(name: str) -> None:
    with pytest.raises(ValueError, match="kept for answers"):
        Feature(name=name, kind="numeric")


def test_hashed_rows_are_fixed_spread_and_in_range() -> None:
    # SplitMix64's finalizer of 1 is 0x5692161d100b05e5; Python integers as the reference
    def finalized(value: int) -> int:
        mask = 2**64 - 1
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
        return value ^ (value >> 31)

    values = [0, 1, -1, 2**62, 12_345_678_901]
    rows = table_rows(np.array(values, dtype=np.int64), 1_000, "hash")
    assert rows.tolist() == [finalized(value % 2**64) % 1_000 for value in values]
    counts = np.bincount(table_rows(np.arange(100_000, dtype=np.int64), 100, "hash"), minlength=100)
    assert counts.min() > 850
    assert counts.max() < 1_150


@pytest.mark.parametrize("rows", [1, 2, 1_000, 2**31 + 11, 2**40])
def test_hashing_many_values_gives_what_hashing_each_alone_gives(rows: int) -> None:
    values = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 40_000)
    before = values.copy()
    expected = mixed(values.astype(np.uint64)) % np.uint64(rows)
    assert np.array_equal(table_rows(values, rows, "hash"), expected.astype(np.int64))
    assert np.array_equal(values, before)


@pytest.mark.parametrize(("values", "fits"), [([0, 23], True), ([24], False), ([5, -1], False), ([-(2**63)], False)])
def test_an_identity_code_is_a_row_of_the_table(values: list[int], fits: bool) -> None:
    raw = np.array(values, dtype=np.int64)
    if fits:
        assert table_rows(raw, 24, "identity").tolist() == values
    else:
        with pytest.raises(DataError, match=f"values from {min(values)} to {max(values)} do not fit"):
            table_rows(raw, 24, "identity")


def test_lists_of_rows_are_not_copied() -> None:
    item = Feature(name="item", kind="categorical", rows=30, encoding="identity")
    features = (item, Feature(name="history", kind="sequence", shares="item"))
    schema = Schema(features=features, tasks=("click",), domains=("a",), stages=("later",))
    lists = pa.array([[1, 2], [], [3], [4, 5, 6], [29]], pa.list_(pa.int64()))
    table = pa.table({"item": [0, 1, 2, 3, 4], "history": lists})
    whole = encode(table, schema).sequences[0]
    assert whole.values.data_ptr() == lists.values.buffers()[1].address
    middle = encode(table.slice(1, 3), schema).sequences[0]
    assert middle.values.tolist() == [3, 4, 5, 6]
    assert middle.offsets.tolist() == [0, 0, 1, 4]
    twice = encode(pa.concat_tables([table, table.slice(1, 3)]), schema).sequences[0]
    assert twice.values.tolist() == [1, 2, 3, 4, 5, 6, 29, 3, 4, 5, 6]
    assert encode(table.slice(1, 1), schema).sequences[0].values.dtype == torch.int64


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 12))
def test_batches_are_cut_from_pieces_of_any_size(sizes: list[int], size: int) -> None:
    edges = np.cumsum([0, *sizes])
    whole = batch_of(0, int(edges[-1]))
    batches = list(resized((batch_of(int(a), int(b)) for a, b in pairwise(edges)), size))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert all(0 < len(batch) <= size for batch in batches)
    for start, batch in zip(range(0, len(whole), size), batches, strict=True):
        expected = whole.rows(start, min(start + size, len(whole)))
        assert torch.equal(batch.labels, expected.labels)
        assert batch.fm_probs is not None
        assert torch.equal(batch.fm_probs, expected.fm_probs)
        assert torch.equal(batch.inputs.categorical, expected.inputs.categorical)
        assert torch.equal(batch.inputs.numeric, expected.inputs.numeric)
        assert torch.equal(batch.inputs.sequences[0].values, expected.inputs.sequences[0].values)
        assert torch.equal(batch.inputs.sequences[0].offsets, expected.inputs.sequences[0].offsets)


@pytest.mark.parametrize("size", [1, 7, 64, 333])
def test_numbers_of_every_batch_begin_at_aligned_memory(dataset: Location, small_schema: Schema, size: int) -> None:
    write_supervision(dataset / "side", np.arange(2 * ROWS))
    traffic = Traffic(dataset, small_schema, ("click",), domain=1)
    batches = list(day_batches(traffic, 1, size, dataset / "side"))
    assert len(batches) > 1
    for batch in batches:
        assert batch.fm_probs is not None
        for numbers in (batch.inputs.numeric, batch.labels, batch.fm_probs):
            assert numbers.data_ptr() % 64 == 0


def batch_of(start: int, stop: int) -> Batch:
    """Row r has r in every field, and a history of r % 3 times r."""
    rows = torch.arange(start, stop)
    lengths = rows % 3
    history = SequenceInput(rows.repeat_interleave(lengths), torch.cat([torch.zeros(1), lengths.cumsum(0)]).long())
    column = rows.unsqueeze(1)
    return Batch(Inputs(column, column.float(), (history,)), column.float(), column / 1_000)


def test_a_reader_that_stops_leaves_no_thread(dataset: Location, small_schema: Schema) -> None:
    traffic = Traffic(dataset, small_schema, small_schema.tasks)
    for batch in day_batches(traffic, 1, 64):
        assert len(batch) == 64
        break
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")] == []


@pytest.mark.parametrize("missing", ["row", "element"])
def test_nulls_in_histories_are_refused(small_schema: Schema, missing: str) -> None:
    lists = {"row": [[1], None, [2]], "element": [[1], [None], [2]]}[missing]
    table = day_table(small_schema, 3)
    column = pa.array(lists, pa.list_(pa.int64()))
    table = table.set_column(table.schema.get_field_index("history"), "history", column)
    with pytest.raises(DataError, match="column history has 1 nulls"):
        encode(table, small_schema)


def test_identity_codes_outside_the_table_are_refused(small_schema: Schema) -> None:
    table = day_table(small_schema, 3)
    table = table.set_column(table.schema.get_field_index("hour"), "hour", pa.array([1, 24, 3], pa.int64()))
    with pytest.raises(DataError, match="feature hour: values from 1 to 24 do not fit a table of 24 rows"):
        encode(table, small_schema)


def test_nulls_are_refused(small_schema: Schema) -> None:
    table = day_table(small_schema, 3)
    table = table.set_column(table.schema.get_field_index("hour"), "hour", pa.array([1, None, 3], pa.int64()))
    with pytest.raises(DataError, match="column hour has 1 nulls"):
        encode(table, small_schema)
