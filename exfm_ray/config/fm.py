"""The FM section, and how many processes train a model together."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from exfm_ray.config.models import DcnV2Model, ModelConfig, whole_batch_field
from exfm_ray.config.optimizer import OptimizerConfig
from exfm_ray.config.section import Name, Section

Workers = Annotated[
    int,
    Field(
        ge=1,
        le=1_024,
        description="processes that train one model together, each on its part of every batch; more than one are a Ray "
        "Train run of their own, and give the numbers of one but for rounding",
    ),
]


def check_shared_out(workers: int, model: ModelConfig) -> None:
    """Refuse several workers for a model that cannot compute a part of a batch as it computes the whole.

    Batch normalization and Dice take moments over the batch, and a dropout's masks are drawn for all of its rows.
    """
    field = whole_batch_field(model)
    if workers > 1 and field is not None:
        raise ValueError(
            f"workers is {workers}, but model.{field} needs every row of a batch in one process; say workers: 1, or "
            f"leave model.{field} out"
        )


class FoundationModelConfig(Section):
    """The teacher."""

    name: Name = "fm"
    model: ModelConfig = DcnV2Model()
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1.5e-3, batch_size=1024)
    train_from_day: int = Field(default=1, ge=1)
    staleness_days: int = Field(default=0, ge=0, description="days that the FM is held back further than the clock")
    exclude: tuple[str, ...] = Field(default=(), description="features that it does not read, such as the domain")
    seed: int = Field(default=0, ge=0)
    workers: Workers = 1

    @model_validator(mode="after")
    def _can_be_shared(self) -> Self:
        check_shared_out(self.workers, self.model)
        return self
