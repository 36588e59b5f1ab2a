"""What the sections of public data sets share: their files, or a drifting stream in their place."""

from pydantic import Field

from exfm_ray.config.section import Section


class PublicData(Section):
    """A public data set. Without a path, days come from a drifting stream of the same shape (data/shaped/)."""

    path: str | None = Field(default=None, min_length=1)
    scale: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="of the stream that stands in where `path` is left out: its events, its ids and the rows of "
        "every batch over the data set's own (1), so that a day keeps its number of training steps",
    )
    stream_seed: int = Field(default=0, ge=0, description="of the stream that stands in where `path` is left out")

    @property
    def is_shaped(self) -> bool:
        """Whether the drifting stream stands in for the data set."""
        return self.path is None

    @property
    def directory(self) -> str:
        """The path, which readers of the files have."""
        assert self.path is not None, "only the data set's own files have a reader"
        return self.path

    def batch_rows(self, batch_size: int) -> int:
        """Rows of a batch that a recipe sets for the data set's own size."""
        if not self.is_shaped:
            return batch_size
        return min(batch_size, max(SMALLEST_BATCH, round(batch_size * self.scale)))


SMALLEST_BATCH = 16
"""Batches do not shrink below it: normalization over a batch needs several rows."""
STREAM_FIELDS = frozenset({"scale", "stream_seed"})
"""Fields that the data set's own files do not depend on."""
