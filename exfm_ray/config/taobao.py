"""The data section of TaobaoAd."""

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from exfm_ray.config.public import PublicData

TaobaoDomainColumn = Literal[
    "cms_segid",
    "cms_group_id",
    "final_gender_code",
    "age_level",
    "pvalue_level",
    "shopping_level",
    "occupation",
    "new_user_class_level",
    "pid",
]


class TaobaoData(PublicData):
    """TaobaoAd (data/taobao/): Tianchi 56's raw files, reczoo's TaobaoAd_x1, or prepared days."""

    type: Literal["taobao"] = "taobao"
    path: str | None = Field(
        default=None,
        min_length=1,
        description="directory of the files, or of what `exfm prepare` wrote; left out: a stream of their shape",
    )
    first_date: date = Field(default=date(2017, 5, 6), description="day 1, Asia/Shanghai")
    last_date: date = Field(default=date(2017, 5, 13), description="inclusive; x1's test.csv is this day")
    behaviors_from: date = Field(
        default=date(2017, 4, 22), description="behaviours before this date have a nonsense time and are dropped"
    )
    history_length: int = Field(default=50, ge=1, le=500, description="latest behaviours before the impression")
    domain_column: TaobaoDomainColumn | None = Field(
        default="new_user_class_level", description="its levels become domains; none: all rows are one domain"
    )
    domains: int | None = Field(
        default=3, ge=1, le=64, description="levels are merged into so many domains of nearly equal size; none: as is"
    )
    domain_days: int = Field(
        default=4, ge=1, description="only days 1 to this one decide how levels are merged: later days would leak"
    )
    table_scale: float = Field(
        default=1.0, gt=0, le=16, description="rows of hashed embedding tables over the published vocabulary's"
    )

    @model_validator(mode="after")
    def _check(self) -> "TaobaoData":
        if (self.last_date - self.first_date).days < 2:
            raise ValueError(f"last_date {self.last_date} must be two days after first_date {self.first_date} or later")
        if self.behaviors_from > self.first_date:
            raise ValueError(f"behaviors_from {self.behaviors_from} must not be after first_date {self.first_date}")
        if self.domain_days > self.days:
            raise ValueError(f"domain_days {self.domain_days} must be one of the {self.days} days")
        return self

    @property
    def days(self) -> int:
        return (self.last_date - self.first_date).days + 1
