"""KuaiVideo as a data section."""

from typing import Literal

from pydantic import Field, field_validator

from exfm_ray.config.public import PublicData

KuaiVideoTask = Literal["click", "like", "follow"]


class KuaiVideoData(PublicData):
    """KuaiVideo (data/kuaivideo/): the competition's log, KuaiVideo_x1, or prepared days."""

    type: Literal["kuaivideo"] = "kuaivideo"
    path: str | None = Field(
        default=None,
        min_length=1,
        description="directory of train_interaction.txt, or of train.csv and test.csv (x1), plain or .gz, or of what "
        "`exfm prepare` wrote; left out: a stream of their shape",
    )
    tasks: tuple[KuaiVideoTask, ...] = Field(default=("click", "like", "follow"), min_length=1)
    days: int = Field(default=8, ge=3, le=1_000, description="of equal numbers of events, in the order of time")
    histories: Literal["past", "published", "none"] = Field(
        default="past",
        description="past: what the user clicked and did not click strictly before the event; published: the lists of "
        "x1, which are the user's first of the whole period and know the days to come",
    )
    history_length: int = Field(default=100, ge=1, le=500, description="latest items per list; `published` have 100")
    user_rows: int | None = Field(
        default=None, ge=1, le=10**9, description="of the hashed table of users; default 10,002 for x1, 37,821 raw"
    )
    item_rows: int = Field(default=632_406, ge=1, le=10**9, description="of the hashed table of items")

    @field_validator("tasks")
    @classmethod
    def _distinct(cls, values: tuple[KuaiVideoTask, ...]) -> tuple[KuaiVideoTask, ...]:
        if len(set(values)) != len(values):
            raise ValueError("names must differ from each other")
        return values
