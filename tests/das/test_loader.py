"""Snapshots, the loader and the predictor: what answers is always a whole snapshot."""

import fcntl
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.loader import SnapshotLoader
from exfm_ray.das.node_cache import NodeCache
from exfm_ray.das.pointer import point_to
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.wire import from_bytes, to_bytes
from exfm_ray.data.commit import MANIFEST, Stopwatch
from exfm_ray.data.encode import encode
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.errors import DataError
from exfm_ray.models.build import build_model, seeded
from exfm_ray.schema import Schema
from tests.das.published import CONFIG, corrupt, parameter_file, publish, rows


@pytest.fixture
def database(tmp_path: Path) -> SnapshotDatabase:
    return SnapshotDatabase(Location.of(str(tmp_path / "snapshots" / "fm")))


def test_days_are_listed_in_order(database: SnapshotDatabase, small_schema: Schema) -> None:
    for day in (2, 1, 10):
        publish(database, small_schema, day)
    assert database.days() == [1, 2, 10]


def test_a_snapshot_predicts_as_the_model_did(database: SnapshotDatabase, small_schema: Schema) -> None:
    model = publish(database, small_schema, 4)
    answer = Predictor.load(database, 4).predict(rows())
    with torch.no_grad():
        expected = torch.sigmoid(model(encode(rows(), small_schema))).numpy()
    assert answer.column_names == ["fm_click", "fm_like"]
    assert np.array_equal(answer["fm_like"].to_numpy(), expected[:, 1])


def test_a_published_snapshot_never_changes(database: SnapshotDatabase, small_schema: Schema) -> None:
    publish(database, small_schema, 1)
    before = (database.directory(1) / MANIFEST).read()
    other = seeded(lambda: build_model(CONFIG, small_schema, 2), 99, "fm")
    facts = SnapshotFacts(
        model=CONFIG, inputs=small_schema, tasks=("click", "like"), trained_through=1, rows_seen=9, parameters=1
    )
    database.publish(other, facts, rows=1, stopwatch=Stopwatch.start())
    assert (database.directory(1) / MANIFEST).read() == before


def test_the_loader_follows_the_pointer(database: SnapshotDatabase, small_schema: Schema, tmp_path: Path) -> None:
    publish(database, small_schema, 1)
    publish(database, small_schema, 2)
    pointer = EmbeddedPointer(str(tmp_path / "pointer"))
    loader = SnapshotLoader(database, pointer, lease_seconds=60, clock=lambda: 0.0)
    loader.follow_once()
    assert loader.current is None
    for day in (1, 2, 1):
        point_to(pointer, day, now=0.0, lease_seconds=60)
        loader.follow_once()
        assert loader.current is not None
        assert loader.current.identity == f"fm/day=00{day}"


def test_the_loader_extends_the_lease(database: SnapshotDatabase, small_schema: Schema, tmp_path: Path) -> None:
    publish(database, small_schema, 1)
    pointer, now = EmbeddedPointer(str(tmp_path / "pointer")), [0.0]
    point_to(pointer, 1, now=0.0, lease_seconds=60)
    loader = SnapshotLoader(database, pointer, lease_seconds=60, clock=lambda: now[0])
    now[0] = 40.0
    loader.follow_once()
    held = pointer.read()
    assert held is not None
    assert held.lease_until == 100.0


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_the_old_snapshot_goes_on_where_the_new_one_is_damaged(
    database: SnapshotDatabase, small_schema: Schema, tmp_path: Path, damage: str
) -> None:
    publish(database, small_schema, 1)
    pointer = EmbeddedPointer(str(tmp_path / "pointer"))
    loader = SnapshotLoader(database, pointer, lease_seconds=60, clock=lambda: 0.0)
    point_to(pointer, 1, now=0.0, lease_seconds=60)
    loader.follow_once()
    if damage == "corrupt":
        publish(database, small_schema, 2)
        corrupt(database, 2)
    point_to(pointer, 2, now=0.0, lease_seconds=60)
    loader.follow_once()
    assert loader.current is not None
    assert loader.current.snapshot_day == 1
    assert loader.problem is not None
    assert "day=002" in loader.problem


def test_a_pointer_that_cannot_be_read_stops_nothing(
    database: SnapshotDatabase, small_schema: Schema, tmp_path: Path
) -> None:
    publish(database, small_schema, 1)
    publish(database, small_schema, 2)
    pointer = EmbeddedPointer(str(tmp_path / "pointer"))
    loader = SnapshotLoader(database, pointer, lease_seconds=60, clock=lambda: 0.0)
    point_to(pointer, 1, now=0.0, lease_seconds=60)
    loader.follow_once()
    (tmp_path / "pointer" / "latest.json").write_text("{")
    loader.follow_once()
    assert loader.current is not None
    assert loader.current.snapshot_day == 1
    assert loader.problem is not None
    assert loader.problem.startswith("the latest pointer cannot be followed")
    (tmp_path / "pointer" / "latest.json").unlink()
    point_to(pointer, 2, now=0.0, lease_seconds=60)
    loader.follow_once()
    assert loader.current.snapshot_day == 2
    assert loader.problem is None


def test_the_lease_is_extended_while_a_snapshot_is_being_loaded(
    database: SnapshotDatabase, small_schema: Schema, tmp_path: Path
) -> None:
    publish(database, small_schema, 1)
    pointer, cache = EmbeddedPointer(str(tmp_path / "pointer")), NodeCache(tmp_path / "cache")
    point_to(pointer, 1, now=time.time(), lease_seconds=0.2)
    loader = SnapshotLoader(database, pointer, lease_seconds=0.2, clock=time.time, cache=cache)
    _, file = database.described(1)
    with cache.file(parameter_file(database, 1), file) as path, open(path.with_name(f"lock-{path.name[0]}")) as lock:
        # what another replica's copying into the cache looks like, for as long as this test likes
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.unlink(path)
        thread = loader.follow(poll_seconds=0.01)
        while (held := pointer.read()) is None or held.version < 5:
            time.sleep(0.01)
        assert loader.current is None
    while loader.current is None:
        time.sleep(0.01)
    assert loader.problem is None
    loader.stop()
    thread.join(60)
    assert not thread.is_alive()


def test_a_missing_snapshot_is_told(database: SnapshotDatabase) -> None:
    with pytest.raises(DataError, match="is not committed"):
        database.load(7)


def test_a_table_survives_the_wire_and_a_slice_sends_its_rows_alone() -> None:
    table = rows(10_000)
    assert from_bytes(to_bytes(table)).equals(table)
    assert from_bytes(to_bytes(table.slice(5, 3))).equals(table.slice(5, 3))
    assert len(to_bytes(table.slice(5, 3))) < len(to_bytes(table)) / 100
