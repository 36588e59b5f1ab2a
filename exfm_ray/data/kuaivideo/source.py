"""KuaiVideo as a source of day partitions: the competition's log (China MM 2018) or KuaiVideo_x1.

The log spans 36 hours whose times are scrambled: they give an order and nothing else. A day is an equal part of the
events in that order, over train and test together in x1; rows of one time stay together. Within a day, event_time is
its scrambled time mapped linearly onto the day's 24 hours, so order and relative distances stay.

Histories are, by default, the latest items that the user clicked, and did not click, strictly before the event. The
lists of x1 itself (`published`) are the user's first ones of the whole period and never change, so they know the
days to come. Visual embeddings, faces and texts of the videos are left out.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.config import KuaiVideoData
from exfm_ray.data.commit import require
from exfm_ray.data.kuaivideo.files import ITEM, LISTS
from exfm_ray.data.kuaivideo.stages import KuaiVideoStages
from exfm_ray.data.logs.user_event_source import UserEventSource
from exfm_ray.data.logs.user_events import TIME, USER, gather, totals
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, STAGE, Feature, Schema, label_column

DAY_MS = 86_400_000
USER_ROWS = {"raw": 37_821, "x1": 10_002}
HISTORIES = {
    "past": "what the user clicked and did not click strictly before the event",
    "published": "the lists of x1, the user's first of the whole period: they know the days to come",
    "none": "none",
}


@dataclass(frozen=True)
class KuaiVideoSource(UserEventSource):
    """A `StagedSource`.

    Raises, from any method that reads the files:
        UserError: a file is missing, or a row is wrong.
    """

    config: KuaiVideoData

    def schema(self) -> Schema:
        return kuaivideo_schema(self.config, self.config.user_rows or USER_ROWS[self.user_stages.files.layout])

    def part(self, day: int, part: int) -> pa.Table:
        slices = self.slices(day)
        piece = slices[part]
        gathered = gather(self.user_stages.users(self.finished), piece)
        events, zeros = gathered.columns, np.zeros(piece.rows, np.int64)
        columns = {
            EVENT_ID: piece.first_rank + np.arange(piece.rows),
            EVENT_TIME: times_within_day(events[TIME].to_numpy(), day, slices[0].first_time, slices[-1].last_time),
            DOMAIN: zeros,
            STAGE: zeros,
            "user_id": events[USER],
            "item_id": events[ITEM],
            **{label_column(task): events[task] for task in self.config.tasks},
            **{name: events[name] for name in self.user_stages.files.lists},
            **gathered.lists,
        }
        return self.rows(columns)

    def summary(self) -> dict[str, Any]:
        """What was read, for the user: counts, rates, what was dropped and left out."""
        counts = totals(self.user_stages.users(self.finished))
        days = [self.slices(day) for day in range(1, self.days + 1)]
        return {
            "rows": counts["events"],
            "days": self.days,
            "rows_per_day": [sum(piece.rows for piece in day) for day in days],
            "what_a_day_is": "an equal part of 36 hours, in the order of scrambled times; event_time is mapped onto it",
            "rates": {task: counts[task] / counts["events"] for task in self.config.tasks},
            "users": counts["users"],
            "items": require(self.user_stages.directory(self.finished, "slices")).about["items"],
            "histories": HISTORIES[self.config.histories],
            "duplicates_dropped": counts["duplicates_dropped"],
            "left_out": "visual embeddings, faces and texts of the videos, playing_time and duration_time",
        }

    @cached_property
    def user_stages(self) -> KuaiVideoStages:
        return KuaiVideoStages.of(self.config)


def kuaivideo_schema(config: KuaiVideoData, user_rows: int) -> Schema:
    """Columns of the days; user_rows: of the hashed table of users."""
    lists = LISTS if config.histories != "none" else ()
    return Schema(
        features=(
            Feature(name="user_id", kind="categorical", rows=user_rows),
            Feature(name="item_id", kind="categorical", rows=config.item_rows),
            *(Feature(name=name, kind="sequence", shares="item_id", owner="user_id") for name in lists),
        ),
        tasks=config.tasks,
        domains=("all",),
        stages=("later",),
    )


def times_within_day(times: NDArray[np.float64], day: int, first: float, last: float) -> NDArray[np.int64]:
    """Scrambled times in the order that they have, as milliseconds of a day of 24 hours.

    Args:
        times: (N,) from first to last.
        day: from 1, which begins at 0 ms.
        first: the day's first time, which comes to its beginning.
        last: the day's last time, which comes to its last millisecond.
    """
    shares = (times - first) / ((last - first) or 1.0)
    return (day - 1) * DAY_MS + (shares * (DAY_MS - 1)).astype(np.int64)
