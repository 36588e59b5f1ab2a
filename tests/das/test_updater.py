"""The updater moves the pointer to the newest sound snapshot, once, and never back."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.expected import Expected
from exfm_ray.das.node_cache import NodeCache
from exfm_ray.das.pointer import PointerRecord, extend_lease, point_to
from exfm_ray.das.updater import Updater
from exfm_ray.data.commit import MANIFEST
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.schema import Schema
from tests.das.published import corrupt, parameter_file, publish, rewrite


@pytest.fixture
def database(tmp_path: Path) -> SnapshotDatabase:
    return SnapshotDatabase(Location.of(str(tmp_path / "fm")))


@pytest.fixture
def pointer(tmp_path: Path) -> EmbeddedPointer:
    return EmbeddedPointer(str(tmp_path / "pointer"))


@pytest.fixture
def updater(database: SnapshotDatabase, pointer: EmbeddedPointer, small_schema: Schema) -> Updater:
    return updater_of(database, pointer, small_schema)


def updater_of(database: SnapshotDatabase, pointer: EmbeddedPointer, schema: Schema) -> Updater:
    return Updater(database, pointer, 60, lambda: 1_000.0, Expected.of(schema, schema.tasks))


def named(pointer: EmbeddedPointer) -> int | None:
    held = pointer.read()
    return held.snapshot_day if held else None


def test_nothing_is_named_before_anything_is_published(updater: Updater, pointer: EmbeddedPointer) -> None:
    assert updater.update_once() is None
    assert (pointer.read(), updater.problem) == (None, None)


def test_the_newest_is_named_under_a_lease(
    database: SnapshotDatabase, updater: Updater, pointer: EmbeddedPointer, small_schema: Schema
) -> None:
    for day in (1, 3, 2):
        publish(database, small_schema, day)
    moved = updater.update_once()
    assert moved == PointerRecord(version=1, snapshot_day=3, lease_until=1_060.0)
    assert pointer.read() == moved
    assert updater.update_once() is None
    publish(database, small_schema, 4)
    assert updater.update_once() == PointerRecord(version=2, snapshot_day=4, lease_until=1_060.0, older_until=1_060.0)


def test_it_never_goes_back(
    database: SnapshotDatabase, updater: Updater, pointer: EmbeddedPointer, small_schema: Schema
) -> None:
    publish(database, small_schema, 1)
    point_to(pointer, 2, 1_000.0, 60)
    assert updater.update_once() is None
    assert named(pointer) == 2


DAMAGES = {
    "bytes": "its checksum differs",
    "manifest": "is not a manifest",
    "unknown model": "model: Input tag 'oracle'",
    "other inputs": "it reads inputs of schema",
    "other tasks": "it predicts click, and click, like is asked here",
    "another model's parameters": "do not fit the model dcnv2",
}


def damaged(database: SnapshotDatabase, schema: Schema, day: int, damage: str) -> None:
    match damage:
        case "other inputs":
            publish(database, schema.for_vm(), day)
            return
        case "other tasks":
            publish(database, schema, day, tasks=("click",))
            return
    publish(database, schema, day)
    match damage:
        case "bytes":
            corrupt(database, day)
        case "manifest":
            (database.directory(day) / MANIFEST).write(b"{")
        case "unknown model":
            rewrite(database, day, model={"type": "oracle"})
        case "another model's parameters":
            rewrite(database, day, model={"type": "dcnv2", "embedding_dim": 3, "cross_layers": 1, "hidden": [9]})


@pytest.mark.parametrize("cached", [False, True], ids=["storage", "cache"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unsound_snapshot_is_logged_once_and_passed_over(
    database: SnapshotDatabase,
    pointer: EmbeddedPointer,
    small_schema: Schema,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
    cached: bool,
) -> None:
    cache = NodeCache(tmp_path / "cache") if cached else None
    expected = Expected.of(small_schema, small_schema.tasks)
    updater = Updater(database, pointer, 60, lambda: 1_000.0, expected, cache)
    publish(database, small_schema, 1)
    damaged(database, small_schema, 2, damage)
    with caplog.at_level(logging.WARNING):
        updater.update_once()
        updater.update_once()
    assert named(pointer) == 1
    (message,) = caplog.messages
    assert message.startswith(f"snapshot {database.directory(2)} is passed over: ")
    assert DAMAGES[damage] in message
    assert DAMAGES[damage] in updater.refused[2]
    publish(database, small_schema, 3)
    updater.update_once()
    assert named(pointer) == 3
    updater.update_once()
    assert updater.refused == {}


def test_what_cannot_be_read_now_is_passed_over_and_tried_again_after_a_pause(
    database: SnapshotDatabase, pointer: EmbeddedPointer, small_schema: Schema, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    updater = Updater(database, pointer, 60, lambda: now[0], Expected.of(small_schema, small_schema.tasks))
    for day in (1, 2):
        publish(database, small_schema, day)
    place = parameter_file(database, 2)
    content = place.read()
    place.delete()
    with caplog.at_level(logging.WARNING):
        updater.update_once()
        now[0] = 1.0
        updater.update_once()
    (message,) = caplog.messages
    assert message.startswith(f"snapshot {database.directory(2)} is passed over: ")
    assert (named(pointer), updater.refused) == (1, {})
    assert updater.problem is not None
    assert updater.problem in message
    place.write(content)
    now[0] = 2.9
    assert updater.update_once() is None
    now[0] = 3.0
    assert updater.update_once() is not None
    assert (named(pointer), updater.problem) == (2, None)
    updater.update_once()
    assert updater.problem is None


def test_a_pointer_that_cannot_be_read_stops_nothing(
    database: SnapshotDatabase, updater: Updater, small_schema: Schema, tmp_path: Path
) -> None:
    publish(database, small_schema, 1)
    (tmp_path / "pointer" / "latest.json").write_text("{")
    assert updater.update_once() is None
    assert updater.problem is not None
    assert "is not a pointer's record" in updater.problem
    (tmp_path / "pointer" / "latest.json").unlink()
    assert updater.update_once() is not None


def test_a_lease_that_is_extended_while_a_snapshot_is_checked_does_not_cost_the_move(
    database: SnapshotDatabase, pointer: EmbeddedPointer, small_schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    updater = updater_of(database, pointer, small_schema)
    publish(database, small_schema, 1)
    updater.update_once()
    publish(database, small_schema, 2)
    described = SnapshotDatabase.described

    def slow(asked: SnapshotDatabase, day: int) -> object:
        extend_lease(pointer, now=1_050.0, lease_seconds=60)
        return described(asked, day)

    monkeypatch.setattr(SnapshotDatabase, "described", slow)
    assert updater.update_once() is not None
    assert named(pointer) == 2


def test_of_many_updaters_one_moves_the_pointer(
    database: SnapshotDatabase, pointer: EmbeddedPointer, small_schema: Schema
) -> None:
    updaters = [updater_of(database, pointer, small_schema) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for day in range(1, 6):
            publish(database, small_schema, day)
            moved = list(threads.map(Updater.update_once, updaters))
            assert [record.snapshot_day for record in moved if record] == [day]
    held = pointer.read()
    assert held is not None
    assert held.version == 5
