"""How the FM's supervision enters a VM."""

from typing import Literal

from pydantic import Field

from exfm_ray.config.section import Positive, Section, Width


class AdapterConfig(Section):
    """The student adapter: a residual MLP on the FM's logit that starts as the identity (Eq. 6)."""

    hidden: tuple[Width, ...] = Field(default=(16,), min_length=1)
    optimizer: Literal["adam", "adagrad", "sgd"] = Field(default="adam", description="its own, beside the VM's")
    learning_rate: Positive = 1e-2


class DistillConfig(Section):
    """How the FM's supervision enters a VM's loss (Eq. 5 and 7)."""

    label_scale: float = Field(default=1.0, gt=0, description="alpha, LS: pseudo-label times alpha, clipped at 1")
    grad_scale: float = Field(default=1.0, ge=0, description="beta, GS: of the gradient from distillation head to x")
    loss_weight: float = Field(default=1.0, ge=0, description="w, LW: of the distillation loss")
    head_hidden: tuple[Width, ...] = Field(default=(16,), description="hidden layers of each distillation head")
    head_learning_rate: Positive | None = Field(
        default=None, description="of the distillation heads; left out: as of the VM's other dense parameters"
    )
    adapter: AdapterConfig = AdapterConfig()


class SharedDistillConfig(DistillConfig):
    """What holds for all VMs, and what differs by task; what a task leaves out is as for all."""

    tasks: dict[str, DistillConfig] = Field(default={}, description="by the name of a task")
