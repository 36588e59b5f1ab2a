"""Clocks that jump: leases last longer or shorter than was meant, and yet what answers is a published snapshot.

All tests run over every store that a latest pointer can live in.
"""

from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from exfm_ray.das.collection import collect
from exfm_ray.das.expected import Expected
from exfm_ray.das.loader import SnapshotLoader
from exfm_ray.das.pointer import LatestPointer, PointerRecord, extend_lease, point_to
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.updater import Updater
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.schema import Schema
from tests.das.published import parameter_file, publish, rows

LEASE_SECONDS = 60.0
HOUR, DECADE = 3_600.0, 315_360_000.0


class Clock:
    """Says what it is set to."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def database(tmp_path: Path) -> SnapshotDatabase:
    return SnapshotDatabase(Location.of(str(tmp_path / "snapshots" / "fm")))


def held(pointer: LatestPointer) -> PointerRecord:
    record = pointer.read()
    assert record is not None
    return record


@pytest.mark.parametrize("jump", [-DECADE, -HOUR, HOUR, DECADE])
def test_the_pointer_moves_on_whatever_the_clock_says(pointer: LatestPointer, jump: float) -> None:
    point_to(pointer, 1, now=2 * DECADE, lease_seconds=LEASE_SECONDS)
    extend_lease(pointer, now=2 * DECADE + jump, lease_seconds=LEASE_SECONDS)
    assert held(pointer).snapshot_day == 1
    assert point_to(pointer, 2, now=2 * DECADE + jump, lease_seconds=LEASE_SECONDS).snapshot_day == 2
    assert point_to(pointer, 3, now=2 * DECADE, lease_seconds=LEASE_SECONDS).snapshot_day == 3
    assert held(pointer).older_until >= 2 * DECADE + LEASE_SECONDS


@pytest.mark.parametrize("jump", [-DECADE, -HOUR, HOUR, DECADE])
def test_a_clock_that_jumps_shortens_no_lease(pointer: LatestPointer, jump: float) -> None:
    given = point_to(pointer, 1, now=2 * DECADE, lease_seconds=LEASE_SECONDS)
    extend_lease(pointer, now=2 * DECADE + jump, lease_seconds=LEASE_SECONDS)
    assert held(pointer).lease_until >= given.lease_until


def test_a_collector_whose_clock_is_ahead_leaves_what_the_pointer_names(
    database: SnapshotDatabase, small_schema: Schema, pointer: LatestPointer
) -> None:
    for day in (1, 2, 3):
        publish(database, small_schema, day)
    point_to(pointer, 2, now=0.0, lease_seconds=LEASE_SECONDS)
    assert collect(database, pointer, now=DECADE) == [1]
    assert database.days() == [2, 3]


def test_a_snapshot_that_could_not_be_read_is_tried_again_after_the_clock_was_set_back(
    database: SnapshotDatabase, small_schema: Schema, pointer: LatestPointer
) -> None:
    publish(database, small_schema, 1)
    place = parameter_file(database, 1)
    content = place.read()
    place.delete()
    clock = Clock(DECADE)
    loader = SnapshotLoader(database, pointer, LEASE_SECONDS, clock)
    point_to(pointer, 1, now=clock(), lease_seconds=LEASE_SECONDS)
    loader.follow_once()
    assert loader.current is None
    place.write(content)
    loader.follow_once()
    assert loader.current is None, "it is tried again at once"
    clock.seconds = 0.0
    loader.follow_once()
    assert loader.current is not None


def test_replicas_whose_clocks_jump_answer_with_published_snapshots_and_never_go_back(
    database: SnapshotDatabase, small_schema: Schema, pointer: LatestPointer
) -> None:
    """Three replicas and a collector, each by a clock of its own that is set anew before each step."""
    chance, expected = Random(3), Expected.of(small_schema, small_schema.tasks)
    clocks = [Clock(0.0) for _ in range(3)]
    loaders = [SnapshotLoader(database, pointer, LEASE_SECONDS, clock, expected) for clock in clocks]
    updaters = [Updater(database, pointer, LEASE_SECONDS, clock, expected) for clock in clocks]
    answers: dict[int, pa.Table] = {}
    seen = [0, 0, 0]
    for day in range(1, 9):
        publish(database, small_schema, day)
        answers[day] = Predictor.load(database, day).predict(rows())
        for _ in range(6):
            replica = chance.randrange(3)
            clocks[replica].seconds = chance.choice([0.0, HOUR, DECADE]) + chance.uniform(0, 2 * LEASE_SECONDS)
            updaters[replica].update_once()
            loaders[replica].follow_once()
            collect(database, pointer, now=chance.choice([0.0, HOUR, 2 * DECADE]))
            assert held(pointer).snapshot_day in database.days()
            predictor = loaders[replica].current
            assert predictor is not None
            assert predictor.snapshot_day >= seen[replica]
            assert predictor.predict(rows()).equals(answers[predictor.snapshot_day])
            seen[replica] = predictor.snapshot_day
    assert max(seen) == held(pointer).snapshot_day == 8
    assert len(database.days()) < 8, "the collector never did anything"
