"""Amazon Electronics' reviews as a data section."""

from typing import Literal

from pydantic import Field

from exfm_ray.config.public import PublicData


class AmazonData(PublicData):
    """Amazon Electronics, 5-core, of 2014 (data/amazon/): the official JSON files, or prepared days."""

    type: Literal["amazon"] = "amazon"
    path: str | None = Field(
        default=None,
        min_length=1,
        description="directory of reviews_Electronics_5.json and meta_Electronics.json, plain or .gz, or of what "
        "`exfm prepare` wrote; left out: a stream of their shape",
    )
    days: int = Field(default=8, ge=3, le=1_000, description="quantiles of time; reviews of one date stay together")
    negatives: Literal["never_reviewed", "not_yet_reviewed"] = Field(
        default="never_reviewed",
        description="never_reviewed: any item that the user never reviews, as DIN has it, which knows what the user "
        "and all others review later; not_yet_reviewed: an item that somebody has reviewed by that date and this user "
        "has not, which knows nothing of the days to come",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the negatives")
    history_length: int = Field(default=100, ge=1, le=500, description="latest reviewed items before the event")
    item_rows: int = Field(default=63_003, ge=1, le=10**9, description="of the hashed table of items")
    category_rows: int = Field(default=803, ge=1, le=10**9, description="of the hashed table of categories")
    user_rows: int = Field(
        default=0, ge=0, le=10**9, description="of the hashed table of users; 0: no such feature, as published"
    )
