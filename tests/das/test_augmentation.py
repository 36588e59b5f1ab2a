"""The side-car of a day: aligned with the partition, and only about the rows that VMs read."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exfm_ray.config import Recipe
from exfm_ray.das.augmentation import augment_days, only, side_car
from exfm_ray.das.deployment import serving
from exfm_ray.das.pointer_at import pointer_at
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.window import measured_requests
from exfm_ray.das.wire import from_bytes, seconds_of, to_buffer, to_bytes, with_seconds
from exfm_ray.data.batches import day_batches
from exfm_ray.data.commit import Stopwatch, require
from exfm_ray.data.drift.source import DriftSource
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import commit_partition, read_rows, select_rows, write_partition_part, write_schema
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.errors import DataError
from exfm_ray.models.build import build_model, seeded
from exfm_ray.quiet import quieten
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, FM_SNAPSHOT, STAGE
from tests.conftest import claimed, small_content

ROWS_PER_REQUEST = 200
VM_MODEL = {"type": "fam", "embedding_dim": 2}


def experiment_of(root: Path, vms: list[dict[str, Any]], *, empty_part: bool = False) -> Experiment:
    """Three days of two domains and two stages, and an FM that is published but was never trained."""
    data = small_content()["data"] | {"days": 3, "stages": ["early", "later"]}
    vms = [vm | {"name": f"vm{index}", "model": VM_MODEL} for index, vm in enumerate(vms)]
    content = small_content(data=data, vms=vms, das={"rows_per_request": ROWS_PER_REQUEST})
    experiment = claimed(Recipe.model_validate(content), root)
    source = DriftSource(experiment.recipe.data)  # type: ignore[arg-type]
    dataset = Location(experiment.dataset)
    write_schema(dataset, source.schema())
    for day in (1, 2, 3):
        tables = [source.part(day, part) for part in range(source.parts(day))]
        tables += [tables[-1].slice(0, 0)] if empty_part else []
        files = [write_partition_part(dataset.day(day), n, table, source.schema()) for n, table in enumerate(tables)]
        commit_partition(dataset.day(day), files, day, source.schema(), Stopwatch.start())
    inputs, fm = experiment.fm_traffic().schema, experiment.recipe.fm.model
    model = seeded(lambda: build_model(fm, inputs, 1), 0, "fm")
    for day in experiment.fm_days:
        facts = SnapshotFacts(
            model=fm, inputs=inputs, tasks=inputs.tasks, trained_through=day, rows_seen=1, parameters=1
        )
        SnapshotDatabase(experiment.snapshots).publish(model, facts, 1, Stopwatch.start())
    return experiment


def augment(experiment: Experiment) -> None:
    quieten(experiment.run.local_directory() / "logs")
    address = experiment.pointer
    with closing(pointer_at(address)) as pointer, serving(experiment, address) as (application, handle):
        augment_days(experiment, application, pointer, handle)


def whole(tables: Iterator[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).combine_chunks()


def read_day(experiment: Experiment, day: int) -> tuple[pa.Table, pa.Table]:
    """The partition's rows and the side-car's."""
    features = [feature.name for feature in experiment.fm_traffic().schema.features]
    partition = whole(read_rows(Location(experiment.dataset).day(day), [EVENT_ID, DOMAIN, STAGE, *features]))
    return partition, whole(read_rows(experiment.supervision(day), [EVENT_ID, "fm_click", FM_SNAPSHOT]))


OVERLAPPING = [{"domain": 0, "stage": "later"}, {"domain": 0, "stage": "later"}, {"domain": 1, "stage": "early"}]


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Two VMs read one cell, a third another one; two cells are read by nobody. Not to be changed."""
    experiment = experiment_of(tmp_path_factory.mktemp("supervised"), OVERLAPPING, empty_part=True)
    augment(experiment)
    return experiment


def test_rows_that_a_vm_reads_get_the_fm_and_the_others_null(supervised: Experiment) -> None:
    for day in (2, 3):
        partition, side = read_day(supervised, day)
        assert side[EVENT_ID].equals(partition[EVENT_ID])
        domain, stage = partition[DOMAIN].to_numpy(), partition[STAGE].to_numpy()
        read = ((domain == 0) & (stage == 1)) | ((domain == 1) & (stage == 0))
        assert 0 < read.sum() < len(read)
        predictor = Predictor.load(SnapshotDatabase(supervised.snapshots), day - 1)
        expected = predictor.predict(partition)["fm_click"].to_numpy()
        got = side["fm_click"].to_numpy()
        np.testing.assert_array_equal(np.isnan(got), ~read)
        assert side["fm_click"].null_count == (~read).sum()  # null, not NaN
        np.testing.assert_allclose(got[read], expected[read], rtol=1e-5)
        assert side[FM_SNAPSHOT].to_pylist() == [f"fm/day={day - 1:03d}" if one else None for one in read]


def test_the_fm_sees_a_row_once_however_many_vms_read_it(supervised: Experiment) -> None:
    manifest = require(supervised.supervision(2))
    _, side = read_day(supervised, 2)
    assert manifest.about["fm_rows"] == len(side) - side["fm_click"].null_count
    assert manifest.rows == len(side)


def test_the_manifest_says_what_each_request_took_and_when_its_rows_happened(supervised: Experiment) -> None:
    requests = measured_requests([require(supervised.supervision(2)).made])
    assert requests is not None
    partition = whole(read_rows(Location(supervised.dataset).day(2), [EVENT_ID, EVENT_TIME]))
    _, side = read_day(supervised, 2)
    events = partition[EVENT_TIME].to_numpy()[side["fm_click"].is_valid().to_numpy()]
    assert requests.rows.sum() == len(events)
    assert requests.replicas == 1
    assert max(requests.rows) == ROWS_PER_REQUEST
    assert sum(requests.rows != ROWS_PER_REQUEST) == 2  # the last of each time slice
    starts = np.cumsum([0, *requests.rows[:-1]]).astype(int)
    np.testing.assert_allclose(requests.first_event, events[starts] / 1_000)
    np.testing.assert_allclose(requests.last_event, events[starts + requests.rows.astype(int) - 1] / 1_000)
    assert 0 < min(requests.seconds) < max(requests.seconds) < require(supervised.supervision(2)).made.seconds


def test_a_vm_reads_its_supervision(supervised: Experiment) -> None:
    for vm in supervised.recipe.vms:
        batches = list(day_batches(supervised.vm_traffic(vm), 2, 100, supervised.supervision(2)))
        assert all(batch.fm_probs is not None and bool((batch.fm_probs > 0).all()) for batch in batches)
        partition, _ = read_day(supervised, 2)
        assert sum(map(len, batches)) == len(select_rows(partition, vm.domain, 0 if vm.stage == "early" else 1))


def test_reading_a_supervision_that_nobody_asked_for_fails_loudly(supervised: Experiment) -> None:
    stranger = supervised.recipe.vms[0].model_copy(update={"domain": 1, "stage": "later"})
    with pytest.raises(DataError, match=r"column fm_click has \d+ nulls"):
        next(day_batches(supervised.vm_traffic(stranger), 2, 100, supervised.supervision(2)))


def test_a_file_that_no_vm_reads_is_supervised_with_nulls() -> None:
    ids = pa.chunked_array([pa.array([7, 8], pa.int64())])
    table = side_car(ids, np.array([False, False]), [], ["click", "like"], "fm/day=001")
    assert table.to_pydict() == {
        EVENT_ID: [7, 8], "fm_click": [None, None], "fm_like": [None, None], FM_SNAPSHOT: [None, None]
    }  # fmt: skip


def test_answers_go_to_the_wanted_rows_in_order() -> None:
    ids = pa.chunked_array([pa.array([1, 2], pa.int64()), pa.array([3, 4], pa.int64())])
    answers = [pa.table({"fm_click": pa.array(values, pa.float32())}) for values in ([0.25], [0.5, 0.75])]
    table = side_car(ids, np.array([True, False, True, True]), answers, ["click"], "fm/day=001")
    assert table["fm_click"].to_pylist() == [0.25, None, 0.5, 0.75]
    assert table[FM_SNAPSHOT].to_pylist() == ["fm/day=001", None, "fm/day=001", "fm/day=001"]
    with pytest.raises(DataError, match="asked about 2 rows and answered 3"):
        side_car(ids, np.array([True, False, True, False]), answers, ["click"], "fm/day=001")


def test_only_keeps_order_over_tables() -> None:
    tables = [pa.table({"row": [0, 1]}), pa.table({"row": [2, 3]}), pa.table({"row": [4]})]
    kept = list(only(np.array([False, True, True, True, False]), tables))
    assert [table["row"].to_pylist() for table in kept] == [[1], [2, 3], []]
    assert kept[1] is tables[1]


def test_buffers_are_read_where_they_lie() -> None:
    table = pa.table({"row": np.arange(1_000)})
    for content in (to_buffer(table.slice(10, 500)), to_bytes(table.slice(10, 500))):
        assert from_bytes(content)["row"].to_pylist() == list(range(10, 510))
    buffer = to_buffer(table)
    address = from_bytes(buffer)["row"].chunk(0).buffers()[1].address
    assert buffer.address <= address < buffer.address + buffer.size


def test_an_answer_says_how_long_the_work_took() -> None:
    answer = pa.table({"fm_click": pa.array([0.5], pa.float32())})
    received = from_bytes(to_bytes(with_seconds(answer, 0.0625)))
    assert received.equals(answer)
    assert seconds_of(received) == 0.0625
