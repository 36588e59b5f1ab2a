"""Vocabularies: which raw ids get a row of their own in the embedding tables."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from exfm_ray.config.section import Section

Count = Annotated[int, Field(ge=1, le=2**31)]


class VocabularyConfig(Section):
    """Ids are counted in the training days, and those that are seen often enough get a row of their own.

    Where a recipe has no such section, hash-coded features share the rows of a table of fixed size. Features whose
    values are rows already (identity) are left alone in any case.
    """

    type: Literal["counted"] = "counted"
    min_count: Count = Field(
        default=10, description="times that an id is seen, in the field and its histories together"
    )
    min_counts: dict[str, Count] = Field(default={}, description="by the name of a feature, where it differs")
    hashed: tuple[str, ...] = Field(default=(), description="features that stay hash-coded")
    most_rows: int | None = Field(
        default=None, ge=1, description="ids per feature that get a row, the most frequent ones; left out: all"
    )
    through_day: int | None = Field(
        default=None, ge=1, description="last day that is counted; left out: the day before the VMs' first"
    )
    grow: bool = Field(
        default=False, description="true: what is known by the end of a day gets its row from the next day on"
    )

    @model_validator(mode="after")
    def _check(self) -> "VocabularyConfig":
        if self.grow and self.through_day is not None:
            raise ValueError(f"through_day {self.through_day} ends what grow goes on with; leave one of them out")
        return self

    def least(self, feature: str) -> int:
        """How often an id of a feature must have been seen."""
        return self.min_counts.get(feature, self.min_count)
