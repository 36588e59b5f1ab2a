"""Small snapshots, and rows to show them."""

import json

import numpy as np
import pyarrow as pa

from exfm_ray.config import DcnV2Model
from exfm_ray.data.commit import MANIFEST, Stopwatch, require
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.model import Model
from exfm_ray.schema import Schema

CONFIG = DcnV2Model(embedding_dim=3, cross_layers=1, hidden=(4,))


def publish(database: SnapshotDatabase, schema: Schema, day: int, tasks: tuple[str, ...] = ()) -> Model:
    """Another model for each day; the tasks are the schema's unless others are given."""
    tasks = tasks or schema.tasks
    model = seeded(lambda: build_model(CONFIG, schema, len(tasks)), day, "fm")
    facts = SnapshotFacts(model=CONFIG, inputs=schema, tasks=tasks, trained_through=day, rows_seen=day, parameters=1)
    database.publish(model, facts, rows=10, stopwatch=Stopwatch.start())
    return model


def parameter_file(database: SnapshotDatabase, day: int) -> Location:
    (file,) = require(database.directory(day)).files
    return database.directory(day) / file.name


def corrupt(database: SnapshotDatabase, day: int) -> None:
    """Flip a bit of the last parameter."""
    content = bytearray(parameter_file(database, day).read())
    content[-1] ^= 1
    parameter_file(database, day).write(bytes(content))


def rewrite(database: SnapshotDatabase, day: int, **about: object) -> None:
    """Make the manifest say something else of the snapshot."""
    place = database.directory(day) / MANIFEST
    manifest = json.loads(place.read())
    manifest["about"] |= about
    place.write(json.dumps(manifest).encode())


def rows(count: int = 50) -> pa.Table:
    generator = np.random.default_rng(0)
    columns = {name: generator.integers(0, 24, count) for name in ("user", "item", "hour")}
    columns |= {name: generator.random(count).astype(np.float32) for name in ("price", "costly")}
    return pa.table({**columns, "history": pa.array([[1, 2]] * count, pa.list_(pa.int64()))})
