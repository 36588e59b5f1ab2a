"""Which rows of a day a model sees: the whole traffic or one VM's part, with what side-cars say about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows, select_rows, where
from exfm_ray.data.vocabulary import Vocabularies
from exfm_ray.errors import DataError
from exfm_ray.schema import (
    DOMAIN,
    EVENT_ID,
    FM_SNAPSHOT,
    STAGE,
    Schema,
    label_column,
    supervision_column,
)

CHUNK_ROWS = 65_536


@dataclass(frozen=True)
class Traffic:
    """Which rows of a data set a model sees, and which columns of them it reads.

    `schema` has the features that it reads; `tasks` its labels; `domain` and `stage` are indices, None for all.
    """

    dataset: Location
    schema: Schema
    tasks: tuple[str, ...]
    domain: int | None = None
    stage: int | None = None
    vocabularies: Vocabularies = field(default_factory=dict)
    """of the schema's counted features"""

    def with_vocabularies(self, vocabularies: Vocabularies) -> "Traffic":
        """The same rows and columns, their counted features coded by these vocabularies."""
        own = {feature.name: vocabularies[feature.name] for feature in self.schema.counted_features()}
        schema = self.schema.sized({name: vocabulary.table_rows for name, vocabulary in own.items()})
        return replace(self, schema=schema, vocabularies=own)

    def rows(
        self,
        day: int,
        supervision: Location | None = None,
        extra_columns: Sequence[str] = (),
        feedback: Location | None = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> Iterator[pa.Table]:
        """The traffic's rows of a day in order.

        Args:
            supervision: a side-car whose FM columns come beside the rows.
            feedback: a side-car whose labels stand for the partition's complete ones: float32, NaN where a label is
                left out. A row without any label is no row.
            chunk_rows: of the day that are read at once.

        Raises:
            DataError: a side-car is not row-aligned with the partition.
        """
        columns = [EVENT_ID, DOMAIN, STAGE, *(feature.name for feature in self.schema.features)]
        columns += [label_column(task) for task in self.tasks] + list(extra_columns)
        tables = read_rows(self.dataset.day(day), list(dict.fromkeys(columns)), chunk_rows)
        if supervision is not None:
            tables = _supervised(tables, supervision, self.tasks, chunk_rows)
        if feedback is not None:
            tables = _relabelled(tables, feedback, self.tasks, chunk_rows)
        return (select_rows(table, self.domain, self.stage) for table in tables)


def _supervised(
    tables: Iterator[pa.Table], supervision: Location, tasks: Sequence[str], chunk_rows: int
) -> Iterator[pa.Table]:
    """Partition rows with the FM's columns."""
    names = [*(supervision_column(task) for task in tasks), FM_SNAPSHOT]
    for table, beside in _beside(tables, supervision, names, "supervision", chunk_rows):
        for name in names:
            table = table.append_column(name, beside[name])
        yield table


def _relabelled(
    tables: Iterator[pa.Table], feedback: Location, tasks: Sequence[str], chunk_rows: int
) -> Iterator[pa.Table]:
    """Partition rows with the labels that came in time."""
    names = [label_column(task) for task in tasks]
    for table, beside in _beside(tables, feedback, names, "feedback", chunk_rows):
        has_label = pa.array(np.zeros(table.num_rows, dtype=bool))
        for name in names:
            has_label = pc.or_(has_label, beside[name].is_valid())
            labels = pc.fill_null(beside[name].cast(pa.float32()), float("nan"))
            table = table.set_column(table.schema.get_field_index(name), name, labels)
        yield where(table, has_label)


def _beside(
    tables: Iterator[pa.Table], sidecar: Location, columns: Sequence[str], what: str, chunk_rows: int
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Partition rows and a side-car's. Ids are compared row by row: a shifted side-car would poison quietly."""
    others = read_rows(sidecar, [EVENT_ID, *columns], chunk_rows)
    for table in tables:
        beside = next(others, None)
        if beside is None or not table[EVENT_ID].equals(beside[EVENT_ID]):
            raise DataError(f"{what} {sidecar} is not row-aligned with its day partition")
        yield table, beside
    if next(others, None) is not None:
        raise DataError(f"{what} {sidecar} has more rows than its day partition")
