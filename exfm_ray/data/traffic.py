"""Which rows of a day a model sees: the whole traffic or one VM's part, with its supervision beside it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows, select_rows
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

    def rows(
        self, day: int, supervision: Location | None = None, extra_columns: Sequence[str] = ()
    ) -> Iterator[pa.Table]:
        """The traffic's rows of a day in order, with the FM's columns where a side-car is given.

        Raises:
            DataError: the side-car is not row-aligned with the partition.
        """
        columns = [EVENT_ID, DOMAIN, STAGE, *(feature.name for feature in self.schema.features)]
        columns += [label_column(task) for task in self.tasks] + list(extra_columns)
        tables = read_rows(self.dataset.day(day), list(dict.fromkeys(columns)), CHUNK_ROWS)
        if supervision is not None:
            tables = _beside(tables, supervision, self.tasks)
        return (select_rows(table, self.domain, self.stage) for table in tables)


def _beside(tables: Iterator[pa.Table], supervision: Location, tasks: Sequence[str]) -> Iterator[pa.Table]:
    """Partition rows with the FM's columns. Ids are compared row by row: a shifted side-car would poison quietly."""
    columns = [supervision_column(task) for task in tasks]
    sidecar = read_rows(supervision, [EVENT_ID, *columns, FM_SNAPSHOT], CHUNK_ROWS)
    for table in tables:
        beside = next(sidecar, None)
        if beside is None or not table[EVENT_ID].equals(beside[EVENT_ID]):
            raise DataError(f"supervision {supervision} is not row-aligned with its day partition")
        for name in (*columns, FM_SNAPSHOT):
            table = table.append_column(name, beside[name])
        yield table
    if next(sidecar, None) is not None:
        raise DataError(f"supervision {supervision} has more rows than its day partition")
