"""Amazon Electronics' reviews as a source of day partitions, by the DIN scheme (Zhou et al., KDD 2018), times kept.

Each review but a user's first gives a positive event and a negative one of the same time, whose item is drawn at
random. Reviews have a date and no hour, so events of one date stand in the order of user and position, and a history
is what the user reviewed before in the order of (date, line of the file), never the event itself. Days are quantiles
of time over all events; where they are cut therefore depends on the whole period, what events hold does not.

With `negatives: never_reviewed`, as published, an item that the user reviews later is never a negative, and items that
nobody has reviewed yet are: negatives know the days to come. `not_yet_reviewed` knows what was reviewed by the date of
the event and nothing else.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from exfm_ray.config import AmazonData
from exfm_ray.data.amazon.files import MISSING_CATEGORY
from exfm_ray.data.amazon.stages import HISTORY, AmazonStages
from exfm_ray.data.logs.user_event_source import UserEventSource
from exfm_ray.data.logs.user_events import TIME, USER, gather, totals
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, STAGE, Feature, Schema, label_column

TASK = "review"
NEGATIVES = {
    "never_reviewed": "items that the user never reviews, before or later: as published, they know the days to come",
    "not_yet_reviewed": "items that somebody had reviewed by that date and this user had not",
}


@dataclass(frozen=True)
class AmazonSource(UserEventSource):
    """A `StagedSource`.

    Raises, from any method that reads the files:
        UserError: a file is missing, or a line is wrong.
    """

    config: AmazonData

    def schema(self) -> Schema:
        return amazon_schema(self.config)

    def part(self, day: int, part: int) -> pa.Table:
        piece = self.slices(day)[part]
        catalogue = self.user_stages.catalogue(self.finished)
        gathered = gather(self.user_stages.users(self.finished), piece)
        events, history = gathered.columns, gathered.lists[HISTORY]
        items, zeros = events["item"].to_numpy(), np.zeros(piece.rows, np.int64)
        categories = catalogue.categories_of(history.values.to_numpy())
        columns = {
            EVENT_ID: piece.first_rank + np.arange(piece.rows),
            EVENT_TIME: events[TIME],
            DOMAIN: zeros,
            STAGE: zeros,
            "user_id": events[USER],
            "item_id": items,
            "cate_id": catalogue.categories_of(items),
            "item_history": history,
            "cate_history": pa.ListArray.from_arrays(history.offsets, categories),
            label_column(TASK): events["label"],
        }
        return self.rows(columns)

    def summary(self) -> dict[str, Any]:
        """What was read, for the user: counts, rates, what was dropped, and what the days are."""
        days = [self.slices(day) for day in range(1, self.days + 1)]
        counts = totals(self.user_stages.users(self.finished))
        categories = self.user_stages.catalogue(self.finished).categories
        return {
            "rows": counts["events"],
            "days": self.days,
            "rows_per_day": [sum(piece.rows for piece in day) for day in days],
            "dates_per_day": [f"{_date(day[0].first_time)} to {_date(day[-1].last_time)}" for day in days],
            "rates": {TASK: counts["positives"] / counts["events"]},
            "reviews": counts["reviews"],
            "users": counts["users"],
            "items": len(categories),
            "categories": len(np.unique(categories[categories != MISSING_CATEGORY])),
            "items_without_category": int((categories == MISSING_CATEGORY).sum()),
            "negatives": NEGATIVES[self.config.negatives],
            "positives_without_negative": counts["positives_without_negative"],
            "duplicates_dropped": counts["duplicates_dropped"],
            "users_with_one_review_dropped": counts["users_with_one_review"],
        }

    @cached_property
    def user_stages(self) -> AmazonStages:
        return AmazonStages.of(self.config)


def amazon_schema(config: AmazonData) -> Schema:
    """Columns of the days."""
    users = (Feature(name="user_id", kind="categorical", rows=config.user_rows),) if config.user_rows else ()
    owner = users[0].name if users else None
    return Schema(
        features=(
            *users,
            Feature(name="item_id", kind="categorical", rows=config.item_rows),
            Feature(name="cate_id", kind="categorical", rows=config.category_rows),
            Feature(name="item_history", kind="sequence", shares="item_id", owner=owner),
            Feature(name="cate_history", kind="sequence", shares="cate_id", owner=owner),
        ),
        tasks=(TASK,),
        domains=("all",),
        stages=("later",),
    )


def _date(time_ms: float) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).date().isoformat()
