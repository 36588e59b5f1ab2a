"""A published FM that reads every kind of feature, and rows for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from exfm_ray.config import DcnV2Model
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.models.build import build_model, seeded
from exfm_ray.schema import Schema

CONFIG = DcnV2Model(embedding_dim=3, cross_layers=1, hidden=(4,))


def database_at(root: Path) -> SnapshotDatabase:
    return SnapshotDatabase(Location.of(str(root / "snapshots" / "fm")))


def publish(database: SnapshotDatabase, schema: Schema, day: int) -> None:
    """An untrained model, another one each day."""
    model = seeded(lambda: build_model(CONFIG, schema, len(schema.tasks)), day, "fm")
    facts = SnapshotFacts(
        model=CONFIG, inputs=schema, tasks=schema.tasks, trained_through=day, rows_seen=day, parameters=1
    )
    database.publish(model, facts, rows=10, stopwatch=Stopwatch.start())


def json_values(count: int) -> list[dict[str, Any]]:
    """Rows for `small_schema` as JSON values."""
    generator = np.random.default_rng(0)
    return [
        {
            "user": int(generator.integers(-(2**63), 2**63 - 1)),
            "item": index,
            "hour": index % 24,
            "price": float(generator.random()),
            "history": [*range(index % 4)],
            "costly": index,
        }
        for index in range(count)
    ]


def arrow_values(count: int) -> pa.Table:
    """The same rows as a table."""
    types = [("user", pa.int64()), ("item", pa.int64()), ("hour", pa.int64()), ("price", pa.float32())]
    types += [("history", pa.list_(pa.int64())), ("costly", pa.float32())]
    return pa.Table.from_pylist(json_values(count), pa.schema(types))
