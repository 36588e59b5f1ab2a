"""Live operation: publishing, updating, loading and collecting together, on every kind of pointer, without a sleep."""

import logging
from pathlib import Path

import pyarrow as pa
import pytest

from exfm_ray.das.collection import collect
from exfm_ray.das.expected import Expected
from exfm_ray.das.loader import SnapshotLoader
from exfm_ray.das.node_cache import NodeCache
from exfm_ray.das.pointer import LatestPointer, point_to
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.updater import Updater
from exfm_ray.data.commit import MANIFEST
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.schema import Schema
from tests.das.published import corrupt, publish, rows

LEASE = 60.0


class Replica:
    """An updater and a loader with a cache and a clock, as in every replica."""

    def __init__(
        self, database: SnapshotDatabase, pointer: LatestPointer, schema: Schema, cache: Path, now: list[float]
    ) -> None:
        expected = Expected.of(schema, schema.tasks)
        self.cache = NodeCache(cache)
        self.updater = Updater(database, pointer, LEASE, lambda: now[0], expected, self.cache)
        self.loader = SnapshotLoader(database, pointer, LEASE, lambda: now[0], expected, self.cache)

    def poll(self) -> int | None:
        """The day of what answers after one round."""
        self.updater.update_once()
        self.loader.follow_once()
        return self.loader.current.snapshot_day if self.loader.current else None

    def answer(self) -> pa.Table:
        assert self.loader.current is not None
        return self.loader.current.predict(rows())


@pytest.fixture
def database(tmp_path: Path) -> SnapshotDatabase:
    return SnapshotDatabase(Location.of(str(tmp_path / "fm")))


def version_of(pointer: LatestPointer) -> int:
    held = pointer.read()
    assert held is not None
    return held.version


def test_replicas_move_to_a_new_snapshot_and_the_old_one_goes_after_its_lease(
    database: SnapshotDatabase,
    pointer: LatestPointer,
    small_schema: Schema,
    tmp_path: Path,
) -> None:
    now = [1_000.0]
    first, second = (Replica(database, pointer, small_schema, tmp_path / "cache", now) for _ in range(2))
    assert [first.poll(), second.poll(), collect(database, pointer, now[0])] == [None, None, []]
    publish(database, small_schema, 1)
    assert [first.poll(), second.poll(), version_of(pointer)] == [1, 1, 1]

    for now[0], extensions in ((1_029.0, 0), (1_031.0, 1), (1_060.0, 1), (1_062.0, 2)):
        assert [first.poll(), second.poll()] == [1, 1]
        assert version_of(pointer) == 1 + extensions, "the lease is extended once per half of it, by either"
    held = pointer.read()
    assert held is not None
    assert held.lease_until == 1_122.0

    publish(database, small_schema, 2)
    assert first.poll() == 2
    assert version_of(pointer) == 4
    assert second.loader.current is not None
    assert second.loader.current.snapshot_day == 1, "the old one answers until this replica has swapped"
    assert collect(database, pointer, now[0]) == []
    assert second.poll() == 2
    assert version_of(pointer) == 4, "the pointer moved once"
    for replica in (first, second):
        assert replica.answer().equals(Predictor.load(database, 2).predict(rows()))

    now[0] = 1_121.9
    assert [first.poll(), collect(database, pointer, now[0]), database.days()] == [2, [], [1, 2]]
    now[0] = 1_122.0
    assert [collect(database, pointer, now[0]), database.days()] == [[1], [2]]
    assert [first.poll(), second.poll(), collect(database, pointer, now[0])] == [2, 2, []]


def test_a_collection_that_was_cut_off_is_finished(
    database: SnapshotDatabase,
    pointer: LatestPointer,
    small_schema: Schema,
) -> None:
    for day in (1, 2, 3):
        publish(database, small_schema, day)
    point_to(pointer, 2, now=0.0, lease_seconds=LEASE)
    for day in (1, 3):
        (database.directory(day) / "condemned").write(b"")
        (database.directory(day) / MANIFEST).delete()
    assert collect(database, pointer, now=0.0) == [1]
    assert [place.name for place in database.root.children()] == ["day=002", "day=003"], "what is newer is left alone"


def test_a_publication_under_way_is_not_collected(
    database: SnapshotDatabase,
    pointer: LatestPointer,
    small_schema: Schema,
) -> None:
    publish(database, small_schema, 2)
    (database.directory(1) / "parameters.safetensors").write(b"on its way")
    point_to(pointer, 2, now=0.0, lease_seconds=LEASE)
    assert collect(database, pointer, now=1e9) == []
    assert (database.directory(1) / "parameters.safetensors").is_file()


@pytest.fixture
def replica(
    database: SnapshotDatabase,
    pointer: LatestPointer,
    small_schema: Schema,
    tmp_path: Path,
    now: list[float],
) -> Replica:
    return Replica(database, pointer, small_schema, tmp_path / "cache", now)


@pytest.fixture
def now() -> list[float]:
    return [0.0]


def test_a_bad_snapshot_that_the_pointer_names_is_refused_once_and_tried_less_and_less(
    database: SnapshotDatabase,
    pointer: LatestPointer,
    replica: Replica,
    small_schema: Schema,
    now: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    publish(database, small_schema, 1)
    assert replica.poll() == 1
    publish(database, small_schema, 2, tasks=("like", "click"))
    point_to(pointer, 2, now[0], LEASE)
    with caplog.at_level(logging.WARNING):
        for now[0] in (0.0, 0.5, 1.0, 2.0, 3.0):
            assert replica.poll() == 1
    (message,) = caplog.messages
    assert message == (
        f"snapshot {database.directory(2)} cannot be loaded: it predicts like, click, and click, like is asked here; "
        "the old snapshot goes on answering"
    )
    assert replica.loader.problem is not None
    assert replica.loader.problem in message
    publish(database, small_schema, 3)
    assert (replica.poll(), replica.loader.problem) == (3, None)


def test_a_snapshot_that_is_mended_is_loaded_after_a_pause(
    database: SnapshotDatabase,
    pointer: LatestPointer,
    replica: Replica,
    small_schema: Schema,
    now: list[float],
) -> None:
    publish(database, small_schema, 1)
    corrupt(database, 1)
    point_to(pointer, 1, now[0], LEASE)
    assert replica.poll() is None
    corrupt(database, 1)
    now[0] = 0.9
    assert replica.poll() is None
    now[0] = 1.0
    assert replica.poll() == 1


def test_only_what_answers_stays_in_the_cache(
    database: SnapshotDatabase, replica: Replica, small_schema: Schema
) -> None:
    for day in (1, 2, 3):
        publish(database, small_schema, day)
        assert replica.poll() == day
        (_, file) = database.described(day)
        names = [path.name for path in replica.cache.directory.iterdir() if not path.name.startswith("lock-")]
        assert names == [file.sha256]
    database.delete(3)
    assert replica.answer().num_rows == 50
