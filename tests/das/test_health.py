"""A replica whose threads are dead or stuck says so; one that is only busy does not."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.health import Health, StateReader, UnhealthyError
from exfm_ray.das.loader import SnapshotLoader
from exfm_ray.das.pointer import point_to
from exfm_ray.data.commit import Stopwatch, require
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.schema import Schema
from tests.das.predictors import CONFIG, predictor


@pytest.fixture
def compute() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield executor


@pytest.fixture
def follower() -> Iterator[threading.Thread]:
    """Alive until the test ends."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield thread
    end.set()
    thread.join()


def test_a_replica_at_rest_is_well(follower: threading.Thread, compute: ThreadPoolExecutor) -> None:
    now = [0.0]
    health = Health(follower, compute, 60.0, lambda: now[0])
    for now[0] in (0.0, 100.0, 200.0):
        health.check()
        compute.submit(int).result()  # behind the probe, which is back by now


def test_a_dead_follower_is_told(compute: ThreadPoolExecutor) -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    with pytest.raises(UnhealthyError, match="pointer is dead"):
        Health(thread, compute, 60.0, lambda: 0.0).check()


def test_a_stuck_computation_is_told_once_it_has_taken_too_long(
    follower: threading.Thread, compute: ThreadPoolExecutor
) -> None:
    now, done = [0.0], threading.Event()
    stuck = compute.submit(done.wait)
    health = Health(follower, compute, 60.0, lambda: now[0])
    for now[0] in (0.0, 30.0, 60.0):
        health.check()
    now[0] = 61.0
    with pytest.raises(UnhealthyError, match="for 61 s, and 60 are allowed"):
        health.check()
    done.set()
    stuck.result()
    compute.submit(int).result()
    health.check()


def test_a_state_is_read_off_the_loader(small_schema: Schema, tmp_path: Path) -> None:
    database = SnapshotDatabase(Location.of(str(tmp_path / "snapshots" / "fm")))
    for day in (1, 2):
        model = predictor(small_schema, day).model
        facts = SnapshotFacts(
            model=CONFIG, inputs=small_schema, tasks=small_schema.tasks, trained_through=day, rows_seen=9, parameters=9
        )
        database.publish(model, facts, rows=9, stopwatch=Stopwatch.start())
    made = require(database.directory(2)).made
    published = made.started + made.seconds
    pointer, now = EmbeddedPointer(str(tmp_path / "pointer")), [published]
    loader = SnapshotLoader(database, pointer, lease_seconds=60, clock=lambda: now[0])
    reader = StateReader(loader, database, lambda: now[0])

    nothing = reader.read()
    assert (nothing.snapshot_day, nothing.snapshot_age_seconds, nothing.lease_left_seconds) == (None, None, None)

    for day in (1, 2):
        point_to(pointer, day, now[0], lease_seconds=60)
        loader.follow_once()
    now[0] += 10.0
    state = reader.read()
    assert (state.snapshot_day, state.swaps, state.failed_loads) == (2, 1, 0)
    assert state.snapshot_age_seconds == pytest.approx(10.0)
    assert state.lease_left_seconds == pytest.approx(50.0)

    point_to(pointer, 3, now[0], lease_seconds=60)
    loader.follow_once()
    loader.follow_once()
    state = reader.read()
    assert (state.snapshot_day, state.swaps, state.failed_loads) == (2, 1, 2)
