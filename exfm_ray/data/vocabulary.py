"""A vocabulary: which row of an embedding table is a raw id's own.

Row 0 is padding, rows 1 … n are those of the n known ids, and row n + 1 is that of all others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from exfm_ray.data.row_lookup import DenseLookup, HashedLookup, row_lookup
from exfm_ray.errors import DataError
from exfm_ray.schema import Schema

Integers = NDArray[np.int64]
_PREFIX = "vocabulary."


@dataclass(frozen=True)
class Vocabulary:
    """The known ids of one feature."""

    ids: Integers
    """(n,) in ascending order, each once"""
    rows: Integers
    """(n,) the ids' rows: 1 … n, each once"""

    @property
    def table_rows(self) -> int:
        """Rows of the feature's embedding table: n + 2."""
        return len(self.ids) + 2

    def rows_of(self, values: Integers) -> Integers:
        """Rows of raw values: (V,) → (V,)."""
        if not len(self.ids):
            return np.full(len(values), self.table_rows - 1, dtype=np.int64)
        return self._lookup(values)

    @cached_property
    def _lookup(self) -> DenseLookup | HashedLookup:
        return row_lookup(self.ids, self.rows)


Vocabularies = Mapping[str, Vocabulary]
"""by the name of the feature"""


def vocabulary_tensors(vocabularies: Vocabularies) -> dict[str, torch.Tensor]:
    """Vocabularies as tensors that lie beside a model's parameters, under names that no parameter has."""
    return {
        f"{_PREFIX}{name}.{part}": torch.from_numpy(values)
        for name, vocabulary in vocabularies.items()
        for part, values in (("ids", vocabulary.ids), ("rows", vocabulary.rows))
    }


def without_vocabularies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's parameters alone."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(_PREFIX)}


def vocabularies_in(tensors: Mapping[str, torch.Tensor], schema: Schema) -> dict[str, Vocabulary]:
    """The vocabularies of a schema's counted features; nothing is copied.

    Raises:
        DataError: one is missing, or is not of the size that the schema says.
    """
    found: dict[str, Vocabulary] = {}
    for feature in schema.counted_features():
        try:
            ids, rows = (tensors[f"{_PREFIX}{feature.name}.{part}"].numpy() for part in ("ids", "rows"))
        except KeyError as error:
            raise DataError(f"the vocabulary of feature {feature.name} is missing: there is no {error}") from error
        if ids.dtype != np.int64 or rows.dtype != np.int64 or not ids.shape == rows.shape == (feature.rows - 2,):
            raise DataError(
                f"the vocabulary of feature {feature.name} has {ids.shape} ids and {rows.shape} rows, but its table "
                f"has {feature.rows} rows"
            )
        found[feature.name] = Vocabulary(ids, rows)
    return found
