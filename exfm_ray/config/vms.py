"""The VMs, and what one training of a VM is."""

from typing import Self

from pydantic import Field, model_validator

from exfm_ray.config.distill import DistillConfig
from exfm_ray.config.fm import Workers, check_shared_out
from exfm_ray.config.models import DeepFamModel, ModelConfig
from exfm_ray.config.optimizer import OptimizerConfig
from exfm_ray.config.section import Name, Section
from exfm_ray.schema import Method


class VerticalModelConfig(Section):
    """One student: a domain, a stage and a task."""

    name: Name
    domain: int = Field(default=0, ge=0)
    stage: str = "later"
    task: str = "click"
    model: ModelConfig = DeepFamModel()
    optimizer: OptimizerConfig = OptimizerConfig()
    methods: tuple[Method, ...] | None = Field(default=None, description="as the recipe's where it is left out")
    distill: DistillConfig = Field(
        default=DistillConfig(), description="what is left out is as for its task in the recipe's"
    )
    workers: Workers = 1

    @model_validator(mode="after")
    def _can_be_shared(self) -> Self:
        check_shared_out(self.workers, self.model)
        return self


class VariantConfig(Section):
    """One training of a VM: how it is configured, by which method it is distilled, and from which seed it starts.

    A run directory finds its checkpoint, snapshots and results by name, method and seed, which therefore stand for one
    configuration there. `vm.distill` holds as it is: nothing of it is inherited from a recipe.
    """

    vm: VerticalModelConfig
    method: Method
    seed: int = Field(ge=0, le=2**31)
