"""Drifting streams in the shape of the public data sets: what a recipe runs on where it names no path to the data.

A stream has the columns, tables, tasks, domains and about the base rates of its data set. Users, items, tastes and
their drift are those of the drifting world (drift_world.py). It is made up: no number measured on it says anything
about the public data.

A user's histories hold what the user met strictly before the event in a log of choices (shaped_choices.py), beside the
events and from the same taste, as TaobaoAd's log of behaviours stands beside its impressions.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from exfm_ray.config import AmazonData, DriftData, KuaiVideoData, TaobaoData
from exfm_ray.data.amazon.source import amazon_schema
from exfm_ray.data.drift.cell import Cell
from exfm_ray.data.drift.events import (
    HOUR_HEIGHT,
    HOUR_PEAK,
    Impressions,
    impressions,
    own_terms,
)
from exfm_ray.data.drift.tables import MILLISECONDS_PER_DAY, cosine, normals, sigmoid
from exfm_ray.data.drift.world import AGES, Climate, climate
from exfm_ray.data.hashing import Draws, Floats, Integers, Words
from exfm_ray.data.kuaivideo.source import USER_ROWS, kuaivideo_schema
from exfm_ray.data.partitions import arrow_schema
from exfm_ray.data.shaped.choices import Items, choice_log, fondness
from exfm_ray.data.shaped.columns import amazon_columns, kuaivideo_columns, level_counts, taobao_columns
from exfm_ray.data.shaped.shape import RANDOM, WARM_UP_DAYS, Shape, shape_of, world_of
from exfm_ray.data.taobao.days import domains_of_levels
from exfm_ray.data.taobao.features import taobao_schema
from exfm_ray.errors import UserError
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, STAGE, Schema, label_column, truth_column

CHUNK_ROWS = 16_384
"""Events made at once."""
AGE_SD = 0.4
"""Of what the logit takes from a user's age."""
PART_ROWS = 131_072
"""Events of a part, about."""

ShapedConfig = TaobaoData | AmazonData | KuaiVideoData
Config = TypeVar("Config", TaobaoData, AmazonData, KuaiVideoData)


@dataclass(frozen=True)
class ShapedSource:
    """Makes any time slice of any day on its own, the same bits whatever else is made (a `DaySource`)."""

    config: ShapedConfig

    @property
    def days(self) -> int:
        return self.config.days

    def schema(self) -> Schema:
        """Columns of the data set's files, tables smaller by the scale; `truth_<task>` beside them."""
        config = self.config
        if isinstance(config, TaobaoData):
            schema = taobao_schema(_scaled(config, "table_scale"), histories=True)
        elif isinstance(config, AmazonData):
            schema = amazon_schema(_scaled(config, "item_rows", "category_rows", "user_rows"))
        else:
            schema = kuaivideo_schema(
                _scaled(config, "item_rows"), max(1, round((config.user_rows or USER_ROWS["x1"]) * config.scale))
            )
        return schema.model_copy(update={"has_truth": True})

    def parts(self, day: int) -> int:
        return -(-self._world.events_per_day // PART_ROWS)

    def part(self, day: int, part: int) -> pa.Table:
        cell = self._cell(day)
        edges = (MILLISECONDS_PER_DAY * edge // self.parts(day) for edge in (part, part + 1))
        begin, end = (cell.first_at(self._world, edge) for edge in edges)
        firsts = range(begin, end, CHUNK_ROWS)
        expected = arrow_schema(self.schema())
        tables = [self._events(cell, np.arange(first, min(first + CHUNK_ROWS, end)), expected) for first in firsts]
        return pa.concat_tables(tables) if tables else expected.empty_table()

    @cached_property
    def _shape(self) -> Shape:
        return shape_of(self.config)

    @cached_property
    def _world(self) -> DriftData:
        return world_of(self.config, self.config.days)

    def _cell(self, day: int) -> Cell:
        """All events of a day, in one cell of the drifting world, whose day 1 was WARM_UP_DAYS before."""
        count = self._world.events_per_day
        return Cell(day=day + WARM_UP_DAYS, domain=0, stage=RANDOM, count=count, first_event_id=(day - 1) * count)

    def _events(self, cell: Cell, events: Integers, expected: pa.Schema) -> pa.Table:
        world = self._world
        draws = cell.draws(world, events)
        time = cell.times(draws, events)
        seen = impressions(world, cell, draws, time, partial(fondness, world))
        features = self._features(seen, cell, time)
        columns: dict[str, Any] = {
            EVENT_ID: cell.first_event_id + events,
            EVENT_TIME: (cell.day - 1 - WARM_UP_DAYS) * MILLISECONDS_PER_DAY + time,
            DOMAIN: self._domains(features),
            STAGE: np.zeros(len(events), dtype=np.int16),
            **features,
            **self._labels(seen, climate(world, cell.day)),
        }
        return pa.table([pa.array(columns[f.name]).cast(f.type) for f in expected], schema=expected)

    def _features(self, seen: Impressions, cell: Cell, time: Integers) -> dict[str, Any]:
        users = seen.users.id.take(seen.user)
        moments = (cell.day - 1) * MILLISECONDS_PER_DAY + time

        def before(stage: int, length: int) -> tuple[np.ndarray, Items, Words]:
            slots = users % self._world.users
            log = choice_log(self._world, stage, cell.day, self._shape.history_days, slots)
            return log.before(users, moments, length)

        config = self.config
        if isinstance(config, TaobaoData):
            return taobao_columns(config, self._world, seen, before)
        if isinstance(config, AmazonData):
            return amazon_columns(config, self._world, seen, before)
        return kuaivideo_columns(config, seen, before)

    def _domains(self, features: dict[str, Any]) -> Integers:
        config = self.config
        rows = len(next(iter(features.values())))
        if not isinstance(config, TaobaoData) or config.domain_column is None:
            return np.zeros(rows, dtype=np.int64)
        of_level = domains_of_levels(config, level_counts(config, self._world))
        domains: Integers = of_level.take(features[config.domain_column])
        return domains

    def _labels(self, seen: Impressions, today: Climate) -> dict[str, Any]:
        """Truths and labels of every task of the section."""
        terms, columns = self._terms(seen, today), {}
        for task in self.schema().tasks:
            label = self._shape.labels[task]
            logit = label.base + label.shared * terms
            if label.own is not None:
                logit = logit + own_terms(label.own, seen, today)
            truth = sigmoid(logit).astype(np.float32)
            columns[truth_column(task)] = truth
            columns[label_column(task)] = (seen.draws.uniform(task) < truth).astype(np.int8)
        return columns

    def _terms(self, seen: Impressions, today: Climate) -> Floats:
        """(n,) what user, item, hour and day add to the logits."""
        shape = self._shape
        hours = HOUR_HEIGHT * cosine((np.arange(24) - HOUR_PEAK) / 24)
        terms: Floats = shape.taste * seen.liking + shape.user_bias * seen.users.bias.take(seen.user)
        terms += hours.take(seen.hour) + today.base[0]
        terms += today.domain_category.take(seen.ads.category.take(seen.ad))
        terms += age_terms(self._world).take(seen.users.age.take(seen.user))
        return terms


def age_terms(world: DriftData) -> Floats:
    """(AGES,) what the logit takes from a user's age."""
    terms: Floats = AGE_SD * normals(Draws.of(np.arange(AGES), world.seed, "age"), "term", 1)[0]
    return terms


def shaped_source(config: ShapedConfig) -> ShapedSource:
    """The stream that stands in for a data set.

    Raises:
        UserError: the section asks for what only the data set's own files have.
    """
    if isinstance(config, KuaiVideoData) and config.histories == "published":
        raise UserError(
            "data.histories: 'published' are the lists of KuaiVideo_x1's own files; name them in data.path, or choose "
            "past or none"
        )
    source = ShapedSource(config)
    if isinstance(config, TaobaoData):
        domains_of_levels(config, level_counts(config, world_of(config, config.days)))
    return source


def _scaled(config: Config, *fields: str) -> Config:
    """The section with numbers of rows smaller by the scale; a table that is left out (0 rows) stays so."""
    values = {name: getattr(config, name) * config.scale for name in fields}
    rows = {name: value if name == "table_scale" else value and max(1, round(value)) for name, value in values.items()}
    return config.model_copy(update=rows)
