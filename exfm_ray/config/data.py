"""The data section: where days come from."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from exfm_ray.config.amazon import AmazonData
from exfm_ray.config.kuaivideo import KuaiVideoData
from exfm_ray.config.section import Section
from exfm_ray.config.table import CsvData, ParquetData
from exfm_ray.config.taobao import TaobaoData

LEAKING_SUFFIXES = ("_cnt", "_num")
"""KuaiRand's counters are averages over the whole month, so they know the days to come."""


class DriftData(Section):
    """The synthetic drifting ads stream (data/drift/)."""

    type: Literal["drift"] = "drift"
    days: int = Field(ge=3, le=9_999, description="a day to train the FM, one to train VMs, one to evaluate at least")
    events_per_day: int = Field(ge=100, le=10**11, description="over all domains and stages together")
    domains: int = Field(default=3, ge=1, le=64)
    stages: tuple[Literal["retrieval", "early", "later"], ...] = Field(
        default=("retrieval", "early", "later"), min_length=1, description="each gets an equal share of the events"
    )
    tasks: tuple[Literal["click", "like", "conversion"], ...] = Field(default=("click",), min_length=1)
    seed: int = Field(default=0, ge=0, description="of the world; `seeds` of the recipe are those of the VMs")
    parts_per_day: int = Field(default=4, ge=1, le=100_000, description="time slices, each generated on its own")
    users: int = Field(default=30_000, ge=100, le=10**9)
    ads: int = Field(default=3_000, ge=10, le=10**8)
    selection: Literal["best_of", "cascade"] = Field(
        default="best_of",
        description="how the log chose the ads of a stage's rows. best_of: the best of 1, 3, 8 by one noisy score; "
        "cascade: out of what the stage before let through (data/drift/selection.py)",
    )
    base_logit: float = Field(default=-5.9, ge=-15, le=5, description="-5.9 gives click rates of 1 to 3 percent")

    @field_validator("stages", "tasks")
    @classmethod
    def _distinct(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) != len(values):
            raise ValueError("names must differ from each other")
        return values


KuaiRandTask = Literal["click", "long_view", "like", "follow", "profile_enter"]


class KuaiRandData(Section):
    """KuaiRand-Pure's standard log (data/kuairand/): official CSV, the same tables as Parquet, or prepared days."""

    type: Literal["kuairand"] = "kuairand"
    path: str = Field(min_length=1, description="directory of the raw tables, or of what `exfm prepare` wrote")
    tasks: tuple[KuaiRandTask, ...] = Field(default=("click", "long_view", "like"), min_length=1)
    first_date: date = Field(default=date(2022, 4, 25), description="Beijing time; earlier rows only feed histories")
    last_date: date = Field(default=date(2022, 5, 8), description="Beijing time, inclusive")
    domains: tuple[tuple[int, ...], ...] = Field(
        default=((1,), (0,), (4,), ()), min_length=1, description="values of `tab` per domain; () takes all others"
    )
    history_length: int = Field(default=20, ge=1, le=500, description="latest long-viewed videos before the event")
    user_columns: tuple[str, ...] = (
        "user_active_degree",
        "is_live_streamer",
        "is_video_author",
        "register_days_range",
        *(f"onehot_feat{index}" for index in range(18)),
    )
    item_columns: tuple[str, ...] = ("author_id", "video_type", "upload_type", "music_id", "music_type", "tag")

    @field_validator("user_columns", "item_columns")
    @classmethod
    def _no_leak(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        for column in columns:
            if column.endswith(LEAKING_SUFFIXES):
                raise ValueError(f"{column} is a counter over the whole month and leaks the days to come; leave it out")
        return columns

    @model_validator(mode="after")
    def _check(self) -> "KuaiRandData":
        if (self.last_date - self.first_date).days < 2:
            raise ValueError(f"last_date {self.last_date} must be two days after first_date {self.first_date} or later")
        tabs = [tab for domain in self.domains for tab in domain]
        if len(set(tabs)) != len(tabs) or sum(not domain for domain in self.domains) > 1:
            raise ValueError("each tab may stand in one domain only, and only one domain may take all others")
        return self


class PartitionsData(Section):
    """Day partitions that exist already."""

    type: Literal["partitions"] = "partitions"
    path: str = Field(min_length=1)


RawLogData = KuaiRandData | TaobaoData | AmazonData | KuaiVideoData | CsvData | ParquetData
"""Logs in their official files or a reader's own tables, or prepared from them by `exfm prepare`; each has `path`."""

DataConfig = Annotated[DriftData | RawLogData | PartitionsData, Field(discriminator="type")]
