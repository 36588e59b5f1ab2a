"""From columns of a day partition to a model's inputs, vectorized."""

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.utils.dlpack import from_dlpack

from exfm_ray.data.blocks import BLOCK
from exfm_ray.data.hashing import mixed
from exfm_ray.data.lists import lists_of
from exfm_ray.data.vocabulary import Vocabularies, Vocabulary
from exfm_ray.errors import DataError
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.schema import Feature, Schema

NO_VOCABULARIES: Vocabularies = {}


def table_rows(values: NDArray[np.int64], rows: int, encoding: str) -> NDArray[np.int64]:
    """Embedding rows of raw values: themselves, or their 64 bits mixed (SplitMix64's finalizer) modulo rows.

    Raises:
        DataError: an identity-coded value lies outside 0 … rows − 1.
    """
    if encoding == "hash":
        return _hashed(values, rows)
    # read without a sign, what is negative is larger than any table: one pass instead of two
    if len(values) and values.view(np.uint64).max() >= rows:
        raise DataError(f"values from {values.min()} to {values.max()} do not fit a table of {rows} rows")
    return values


def encode(table: pa.Table, schema: Schema, vocabularies: Vocabularies = NO_VOCABULARIES) -> Inputs:
    """The schema's features of a table's B rows.

    Lists of identity-coded values are not copied: they lie in the table's own memory, which nobody writes to.

    Args:
        vocabularies: of the schema's counted features, by their names.
    """
    categorical_features, numeric_features = schema.of_kind("categorical"), schema.of_kind("numeric")
    table_of = {feature.name: feature for feature in categorical_features}
    categorical = np.empty((table.num_rows, len(categorical_features)), dtype=np.int64)
    for index, feature in enumerate(categorical_features):
        raw = column(table, feature.name).astype(np.int64, copy=False)
        categorical[:, index] = _rows_of(raw, feature, vocabularies)
    # torch's own memory always begins at a multiple of 64 bytes; products may round by where their factors lie
    numeric = torch.empty(table.num_rows, len(numeric_features))
    for index, feature in enumerate(numeric_features):
        numeric.numpy()[:, index] = column(table, feature.name)
    return Inputs(
        categorical=torch.from_numpy(categorical),
        numeric=numeric,
        sequences=tuple(
            _sequence(table, f.name, table_of[f.shares or ""], vocabularies) for f in schema.of_kind("sequence")
        ),
    )


def column(table: pa.Table, name: str) -> NDArray[np.generic]:
    """A column without nulls as one array.

    Raises:
        DataError: it has nulls.
    """
    values = table[name]
    if values.null_count:
        raise DataError(f"column {name} has {values.null_count} nulls; fill them when preparing the data")
    return np.asarray(values.to_numpy())


def _hashed(values: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """In blocks that stay in a core's cache, and without an array for every step."""
    words, scratch = values.astype(np.uint64), np.empty(min(len(values), BLOCK), dtype=np.uint64)
    for start in range(0, len(words), BLOCK):
        block = words[start : start + BLOCK]
        room = scratch[: len(block)]
        mixed(block, room)
        # the remainder; numpy divides by multiplying here, and not where it takes remainders
        block -= np.multiply(np.floor_divide(block, np.uint64(rows), out=room), np.uint64(rows), out=room)
    return words.view(np.int64)


def _rows_of(raw: NDArray[np.int64], feature: Feature, vocabularies: Vocabularies) -> NDArray[np.int64]:
    if feature.encoding == "counted":
        return _vocabulary_of(feature, vocabularies).rows_of(raw)
    try:
        return table_rows(raw, feature.rows, feature.encoding)
    except DataError as error:
        raise DataError(f"feature {feature.name}: {error}") from error


def _vocabulary_of(feature: Feature, vocabularies: Vocabularies) -> Vocabulary:
    vocabulary = vocabularies.get(feature.name)
    if vocabulary is None:
        raise DataError(f"feature {feature.name}: is counted, and its vocabulary is not here")
    if vocabulary.table_rows != feature.rows:
        raise DataError(
            f"feature {feature.name}: a vocabulary for {vocabulary.table_rows} rows does not fit a table of "
            f"{feature.rows}"
        )
    return vocabulary


def _sequence(table: pa.Table, name: str, shared: Feature, vocabularies: Vocabularies) -> SequenceInput:
    lists = lists_of(table, name)
    raw = lists.flatten()
    values = raw.to_numpy()
    rows = _rows_of(values, shared, vocabularies)
    offsets = lists.offsets.to_numpy().astype(np.int64)
    # through Arrow where nothing was made: numpy would say that its memory must not be written to, and torch warn
    found = from_dlpack(raw) if rows is values else torch.from_numpy(rows)
    return SequenceInput(found, torch.from_numpy(offsets - offsets[0]))
