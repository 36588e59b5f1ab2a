"""Raw ids to rows by a vocabulary, and vocabularies beside a model's parameters."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from exfm_ray.data.encode import encode
from exfm_ray.data.vocabulary import Vocabulary, vocabularies_in, vocabulary_tensors, without_vocabularies
from exfm_ray.errors import DataError
from exfm_ray.schema import Feature, Schema

SCHEMA = Schema(
    features=(
        Feature(name="user", kind="categorical", rows=1_000),
        Feature(name="hour", kind="categorical", rows=24, encoding="identity"),
        Feature(name="item", kind="categorical", rows=1_000),
        Feature(name="history", kind="sequence", shares="item"),
    ),
    tasks=("click",),
    domains=("a",),
    stages=("later",),
)


def vocabulary(ids: list[int], rows: list[int]) -> Vocabulary:
    return Vocabulary(np.array(ids, dtype=np.int64), np.array(rows, dtype=np.int64))


ITEMS = vocabulary([-(2**63), -5, 7, 2**62], [2, 1, 4, 3])


def test_known_ids_have_their_rows_and_all_others_the_last() -> None:
    values = np.array([7, 8, -5, 2**62, -(2**63), -6, 2**63 - 1, 7], dtype=np.int64)
    assert ITEMS.table_rows == 6
    assert ITEMS.rows_of(values).tolist() == [4, 5, 1, 3, 2, 5, 5, 4]
    assert ITEMS.rows_of(values[:0]).tolist() == []


def test_an_empty_vocabulary_knows_nothing() -> None:
    empty = vocabulary([], [])
    assert empty.table_rows == 2
    assert empty.rows_of(np.array([0, 3], dtype=np.int64)).tolist() == [1, 1]


def test_a_sequence_is_coded_by_the_vocabulary_of_the_feature_that_it_shares() -> None:
    vocabularies = {"user": vocabulary([9], [1]), "item": ITEMS}
    schema = SCHEMA.counted().sized({name: known.table_rows for name, known in vocabularies.items()})
    history = pa.array([[7, 9], [], [-5]], pa.list_(pa.int64()))
    table = pa.table({"user": [9, 7, -5], "hour": [3, 0, 23], "item": [-5, 9, 7], "history": history})
    inputs = encode(table, schema, vocabularies)
    assert inputs.categorical.tolist() == [[1, 3, 1], [2, 0, 5], [2, 23, 4]]
    assert inputs.sequences[0].values.tolist() == [4, 5, 1]
    with pytest.raises(DataError, match="feature user: is counted, and its vocabulary is not here"):
        encode(table, schema)
    with pytest.raises(DataError, match="feature user: a vocabulary for 3 rows does not fit a table of 2"):
        encode(table, SCHEMA.counted(), vocabularies)


def test_identity_coded_features_and_those_named_are_left_alone() -> None:
    assert [feature.name for feature in SCHEMA.counted().counted_features()] == ["user", "item"]
    assert [feature.name for feature in SCHEMA.counted(but=["user"]).counted_features()] == ["item"]
    assert SCHEMA.counted(but=["user", "item"]) == SCHEMA
    sized = SCHEMA.counted().sized({"user": 70, "item": 5})
    assert [feature.rows for feature in sized.features] == [70, 24, 5, 0]
    assert sized.unsized() == SCHEMA.counted() != sized
    assert SCHEMA.unsized() == SCHEMA


def test_vocabularies_travel_beside_parameters() -> None:
    vocabularies = {"item": ITEMS, "user": vocabulary([], [])}
    table = torch.zeros(2, 3)
    tensors = {"embedding.table": table} | vocabulary_tensors(vocabularies)
    assert without_vocabularies(tensors) == {"embedding.table": table}
    schema = SCHEMA.counted().sized({"item": 6, "user": 2})
    found = vocabularies_in(tensors, schema)
    assert list(found) == ["user", "item"]
    assert found["item"].ids.tolist() == ITEMS.ids.tolist()
    assert found["item"].rows.tolist() == ITEMS.rows.tolist()
    assert vocabularies_in({}, SCHEMA) == {}
    with pytest.raises(DataError, match=r"of feature user has .0,. ids and .0,. rows, but its table has 3 rows"):
        vocabularies_in(tensors, schema.sized({"user": 3}))
    with pytest.raises(DataError, match="the vocabulary of feature user is missing"):
        vocabularies_in({}, schema)
