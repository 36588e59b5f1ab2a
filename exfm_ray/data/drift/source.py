"""The synthetic ads stream that drifts: tastes wander, users and ads come and go, base rates move.

The effects that distillation from a foundation model lives on arise in it by themselves: a teacher
that sees more features and all domains knows more, and one that is some days old knows less.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.config import DriftData
from exfm_ray.data.drift.cell import Cell
from exfm_ray.data.drift.events import SERVICE_FEATURES, event_columns
from exfm_ray.data.drift.tables import MILLISECONDS_PER_DAY, MOST_SEEN
from exfm_ray.data.drift.world import (
    AD_LIFE,
    ADS_PER_ADVERTISER,
    AGES,
    CATEGORIES,
    CLUSTERS,
    CREATIVES,
    DEVICES,
    FACTORS,
    GEOS,
)
from exfm_ray.data.partitions import arrow_schema
from exfm_ray.errors import UserError
from exfm_ray.schema import EVENT_TIME, Feature, Schema, delay_column, label_column

CHUNK_ROWS = 16_384
"""Events made at once: their columns stay in the processor's cache."""
USER_TABLE_ROWS, AD_TABLE_ROWS = 2, 4
"""Rows of the hashed tables per living user and ad: about twice those met in ten days, as ads change faster."""


@dataclass(frozen=True)
class DriftSource:
    """Makes any time slice of any day on its own, the same bits on any machine (a `DaySource`).

    An event depends on the recipe's `data` section but for `days` and `parts_per_day`: cutting a day into
    other parts moves no event and changes none. Day d covers the milliseconds [(d - 1), d) * 86,400,000.
    """

    config: DriftData

    @property
    def days(self) -> int:
        return self.config.days

    def schema(self) -> Schema:
        """Columns of the stream; `truth_<task>` is the probability that the label was drawn from."""
        return Schema(
            features=(*_categorical_features(self.config), *_numeric_features()),
            tasks=self.config.tasks,
            domains=tuple(f"domain {domain}" for domain in range(self.config.domains)),
            stages=self.config.stages,
            has_truth=True,
            has_delays=True,
        )

    def parts(self, day: int) -> int:
        """Number of time slices, the same for every day."""
        return self.config.parts_per_day

    def part(self, day: int, part: int) -> pa.Table:
        """The events of [part / parts, (part + 1) / parts) of a day, by event_time and then event_id.

        All parts of a day have exactly `events_per_day` rows together.

        Raises:
            UserError: there is no such day or part.
        """
        parts = self.parts(day)
        if not 1 <= day <= self.days:
            raise UserError(f"day: {day} is not in the stream; allowed are 1 to {self.days}; raise data.days for more")
        if not 0 <= part < parts:
            raise UserError(f"part: {part} is no part of day {day}; allowed are 0 to {parts - 1}; see parts_per_day")
        start, end = (MILLISECONDS_PER_DAY * edge // parts for edge in (part, part + 1))
        chunks = [
            event_columns(self.config, cell, first, min(first + CHUNK_ROWS, last))
            for cell, begin, last in self._cell_ranges(day, start, end)
            for first in range(begin, last, CHUNK_ROWS)
        ]
        return _sorted_table(chunks, self.schema())

    def _cell_ranges(self, day: int, start: int, end: int) -> Iterator[tuple[Cell, int, int]]:
        """Each cell of a day with the range of its events between two milliseconds of the day."""
        for cell in cells(self.config, day):
            yield cell, cell.first_at(self.config, start), cell.first_at(self.config, end)


def cells(config: DriftData, day: int) -> list[Cell]:
    """Domain k gets a share proportional to 1 / (k + 1), its stages get equal shares; the counts add up exactly."""
    weights = [Fraction(1, domain + 1) for domain in range(config.domains) for _ in config.stages]
    total = sum(weights)
    edges = [0, *(config.events_per_day * weight // total for weight in accumulate(weights))]
    first_of_day = (day - 1) * config.events_per_day
    return [
        Cell(
            day=day,
            domain=index // len(config.stages),
            stage=index % len(config.stages),
            count=edge - edges[index],
            first_event_id=first_of_day + edges[index],
        )
        for index, edge in enumerate(edges[1:])
    ]


def _sorted_table(chunks: list[dict[str, NDArray[np.generic]]], schema: Schema) -> pa.Table:
    """The chunks, which follow each other by event_id, as one table in event-time order."""
    expected = arrow_schema(schema)
    if not chunks:
        return expected.empty_table()
    order = np.argsort(np.concatenate([chunk[EVENT_TIME] for chunk in chunks]), kind="stable")
    columns = {name: np.concatenate([chunk[name] for chunk in chunks])[order] for name in expected.names}
    missing = {delay_column(task): columns[label_column(task)] == 0 for task in schema.tasks}
    arrays = [pa.array(columns[column.name], column.type, mask=missing.get(column.name)) for column in expected]
    return pa.Table.from_arrays(arrays, schema=expected)


def _categorical_features(config: DriftData) -> Iterator[Feature]:
    """Of which a VM reads ten; `service` is the domain, which is constant to a VM, and so is the stage."""
    advertisers = -(-config.ads // ADS_PER_ADVERTISER)
    yield Feature(name="user_id", kind="categorical", rows=USER_TABLE_ROWS * config.users)
    yield Feature(name="ad_id", kind="categorical", rows=AD_TABLE_ROWS * config.ads)
    for name, rows, fm_only in (
        ("advertiser_id", advertisers, False),
        ("category_id", CATEGORIES, False),
        ("cluster_id", CLUSTERS, False),
        ("geo", GEOS, True),
        ("age", AGES, True),
        ("device", DEVICES, False),
        ("creative", CREATIVES, False),
        ("hour", 24, False),
        ("ad_age", AD_LIFE[1], False),
        ("frequency", MOST_SEEN + 1, False),
        ("service", config.domains, True),
    ):
        yield Feature(name=name, kind="categorical", rows=rows, encoding="identity", fm_only=fm_only)
    if config.selection == "cascade":  # whose stages select so strongly that equal features click at unequal rates
        rows = len(config.stages)
        yield Feature(name="stage_id", kind="categorical", rows=rows, encoding="identity", fm_only=True)


def _numeric_features() -> Iterator[Feature]:
    """What the service measured, for all models, and noisy views of users and ads, for the FM."""
    for index in range(SERVICE_FEATURES):
        yield Feature(name=f"service_feature_{index}", kind="numeric")
    for side in ("user", "ad"):
        for k in range(FACTORS):
            yield Feature(name=f"{side}_view_{k}", kind="numeric", fm_only=True)
