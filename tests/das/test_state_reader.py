"""What a replica tells of its state is what its loader, its pointer and its snapshots say."""

from pathlib import Path

import pytest

from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.loader import SnapshotLoader
from exfm_ray.das.pointer import point_to
from exfm_ray.das.state_reader import StateReader
from exfm_ray.das.watched_pointer import WatchedPointer
from exfm_ray.data.commit import Stopwatch, require
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.schema import Schema
from tests.das.predictors import CONFIG, predictor


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
    pointer, now = WatchedPointer(EmbeddedPointer(str(tmp_path / "pointer"))), [published]
    loader = SnapshotLoader(database, pointer, lease_seconds=60, clock=lambda: now[0])
    reader = StateReader(loader, pointer, database, lambda: now[0])

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
    now[0] += 30.0
    loader.follow_once()  # extends it
    assert reader.read().lease_left_seconds == pytest.approx(60.0)

    point_to(pointer, 3, now[0], lease_seconds=60)
    loader.follow_once()
    state = reader.read()
    assert (state.snapshot_day, state.swaps, state.failed_loads) == (2, 1, 1)
