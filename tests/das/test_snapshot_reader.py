"""A service goes on from one vocabulary to a larger one, and each snapshot answers with its own."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from exfm_ray.das.expected import Expected
from exfm_ray.das.node_cache import NodeCache
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.snapshot_reader import SnapshotReader
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.data.vocabulary import Vocabulary
from exfm_ray.errors import DataError
from exfm_ray.models.build import build_model, seeded
from exfm_ray.schema import Schema
from tests.das.published import CONFIG, publish, rows


def publish_counted(database: SnapshotDatabase, schema: Schema, day: int, known: int) -> None:
    """A snapshot that knows users and items 0 … known − 1."""
    ids = np.arange(known)
    vocabularies = {name: Vocabulary(ids, known - ids) for name in ("user", "item")}
    inputs = schema.counted().sized({name: vocabulary.table_rows for name, vocabulary in vocabularies.items()})
    model = seeded(lambda: build_model(CONFIG, inputs, len(schema.tasks)), 0, "fm")
    facts = SnapshotFacts(
        model=CONFIG, inputs=inputs, tasks=schema.tasks, trained_through=day, rows_seen=day, parameters=1
    )
    database.publish(model, facts, 10, Stopwatch.start(), vocabularies)


@pytest.fixture
def database(tmp_path: Path) -> SnapshotDatabase:
    return SnapshotDatabase(Location.of(str(tmp_path / "fm")))


@pytest.mark.parametrize("is_cached", [True, False])
def test_larger_vocabularies_are_expected(
    database: SnapshotDatabase, small_schema: Schema, tmp_path: Path, is_cached: bool
) -> None:
    expected = Expected.of(small_schema.counted(), small_schema.tasks)
    reader = SnapshotReader(database, expected, NodeCache(tmp_path / "cache") if is_cached else None)
    users = np.array([0, 4, 5, 9, 10, 99])
    table = rows(6).set_column(0, "user", pa.array(users)).set_column(1, "item", pa.array([3] * 6))
    for day, known, distinct in ((1, 5, 3), (2, 10, 5)):
        publish_counted(database, small_schema, day, known)
        predictor = Predictor.of(database, reader.read(day))
        coded = predictor.encoded(table).categorical[:, 0]
        assert coded.tolist() == [known - user if user < known else known + 1 for user in users.tolist()]
        assert len(set(coded.tolist())) == distinct
        assert predictor.predict(table).equals(Predictor.load(database, day).predict(table))


def test_hash_coded_inputs_are_others_than_counted_ones(database: SnapshotDatabase, small_schema: Schema) -> None:
    publish(database, small_schema, 1)
    publish_counted(database, small_schema, 2, 5)
    counted = SnapshotReader(database, Expected.of(small_schema.counted(), small_schema.tasks))
    hashed = SnapshotReader(database, Expected.of(small_schema, small_schema.tasks))
    for reader, day in ((counted, 1), (hashed, 2)):
        with pytest.raises(DataError, match="it reads inputs of schema"):
            reader.read(day)
    assert counted.read(2).vocabularies.keys() == {"user", "item"}
    assert hashed.read(1).vocabularies == {}
