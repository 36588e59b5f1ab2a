"""KuaiRand-Pure's standard log as a source of day partitions (Gao et al., KuaiRand, CIKM 2022).

Day d is the Beijing date first_date + d - 1. Every event is one impression of a short video with the user's
feedback; an event's features are known before it: ids, the static tables, and the user's earlier long views.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from exfm_ray.config import KuaiRandData
from exfm_ray.data.kuairand.check import check_kuairand
from exfm_ray.data.kuairand.features import TABS, StaticTable, event_features, read_users, read_videos
from exfm_ray.data.kuairand.log import LABELS, EventLog, domain_names, read_log
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, STAGE, Schema, label_column


@dataclass(frozen=True)
class KuaiRandSource:
    """A `DaySource` of one part per day. Only its configuration travels; each process reads the tables once.

    Raises, from any method that reads the tables:
        UserError: what `check_kuairand` finds wrong, or a value in the tables that cannot be right.
    """

    config: KuaiRandData

    def __post_init__(self) -> None:
        # a relative path must mean the same directory in processes that work elsewhere
        absolute = self.config.model_copy(update={"path": str(Location.of(self.config.path))})
        object.__setattr__(self, "config", absolute)

    @property
    def days(self) -> int:
        return (self.config.last_date - self.config.first_date).days + 1

    def schema(self) -> Schema:
        return Schema(
            features=event_features(*_static_tables(self.config)),
            tasks=self.config.tasks,
            domains=domain_names(self.config),
            stages=("later",),
        )

    def parts(self, day: int) -> int:
        return 1

    def part(self, day: int, part: int) -> pa.Table:
        events = _log(self.config).day(day)
        columns = self._event_columns(events) | self._static_columns(events) | self._history_columns(events)
        expected = arrow_schema(self.schema())
        return pa.table([pa.array(columns[field.name]).cast(field.type) for field in expected], schema=expected)

    def summary(self) -> dict[str, Any]:
        """What was read, for the user: counts, label rates, and what was dropped."""
        log = _log(self.config)
        columns = log.columns
        return {
            "rows": len(columns["day"]),
            "days": self.days,
            "rows_per_day": np.bincount(columns["day"], minlength=self.days + 1)[1:].tolist(),
            "rates": {task: float(columns[LABELS[task]].mean()) for task in self.config.tasks},
            "users": len(np.unique(columns["user_id"])),
            "videos": len(np.unique(columns["video_id"])),
            **log.counts,
        }

    def _event_columns(self, events: dict[str, Any]) -> dict[str, Any]:
        seconds = np.maximum(events["duration_ms"], 0) / 1_000
        return {
            EVENT_ID: events["event_id"],
            EVENT_TIME: events["time_ms"],
            DOMAIN: events["domain"],
            STAGE: np.zeros_like(events["domain"]),
            "user_id": events["user_id"],
            "video_id": events["video_id"],
            "tab": np.where((events["tab"] < 0) | (events["tab"] >= TABS), TABS - 1, events["tab"]),
            "hour": events["hour"],
            "log_duration": np.log1p(seconds).astype(np.float32),
            **{label_column(task): events[LABELS[task]] for task in self.config.tasks},
        }

    def _static_columns(self, events: dict[str, Any]) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for table, key in zip(_static_tables(self.config), ("user_id", "video_id"), strict=True):
            rows = table.rows_of(events[key])
            columns |= {column.feature.name: column.codes[rows] for column in table.columns}
        return columns

    def _history_columns(self, events: dict[str, Any]) -> dict[str, Any]:
        histories = _log(self.config).histories
        offsets, watched = histories.before(events["user_id"], events["time_ms"], self.config.history_length)
        columns = {"history_video": pa.ListArray.from_arrays(offsets, watched)}
        videos = _static_tables(self.config)[1]
        authors = videos.column("author_id")
        if authors is not None:
            columns["history_author"] = pa.ListArray.from_arrays(offsets, authors.codes[videos.rows_of(watched)])
        return columns


@lru_cache(maxsize=1)
def _static_tables(config: KuaiRandData) -> tuple[StaticTable, StaticTable]:
    """Users and videos."""
    check_kuairand(config)
    return read_users(config), read_videos(config)


@lru_cache(maxsize=1)
def _log(config: KuaiRandData) -> EventLog:
    check_kuairand(config)
    return read_log(config)
