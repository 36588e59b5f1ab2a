"""A VM in training: the served model, with what its method adds for the time of training only."""

from typing import Any

import torch
from torch import nn

from exfm_ray.config import DistillConfig, VerticalModelConfig
from exfm_ray.distill.adapter import StudentAdapter
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.mlp import mlp
from exfm_ray.schema import Method, Schema


class Student(nn.Module):
    """`model` is served. `distillation_head` (ah, ah_sa), `adapted_head` and `adapter` (ah_sa) are never served.

    Parts start from the seed alone: VMs of one architecture and one data set start alike, whatever their method, domain
    or weights, so that their difference is that of what is compared.
    """

    def __init__(
        self, vm: VerticalModelConfig, distill: DistillConfig, method: Method, schema: Schema, seed: int
    ) -> None:
        super().__init__()
        self.method = method
        self.distill = distill
        self.model = seeded(lambda: build_model(vm.model, schema, tasks=1), seed, "model")
        self.distillation_head: nn.Module | None = None
        self.adapted_head: nn.Module | None = None
        self.adapter: StudentAdapter | None = None
        width, hidden = self.model.width, distill.head_hidden
        if method in ("ah", "ah_sa"):
            self.distillation_head = seeded(lambda: mlp(width, hidden, 1), seed, "distillation_head")
        if method == "ah_sa":
            self.adapted_head = seeded(lambda: mlp(width, hidden, 1), seed, "adapted_head")
            self.adapter = seeded(lambda: StudentAdapter(distill.adapter), seed, "adapter")

    def dense_parameters(self) -> list[nn.Parameter]:
        """Everything that the VM's loss trains, but for the embedding tables."""
        return [*self.model.dense_parameters(), *self._head_parameters()]

    def dense_groups(self) -> list[dict[str, Any]]:
        """The dense parameters as a torch optimizer takes them, the distillation heads at their own learning rate."""
        rate, heads = self.distill.head_learning_rate, self._head_parameters()
        if rate is None or not heads:
            return [{"params": self.dense_parameters()}]
        return [{"params": self.model.dense_parameters()}, {"params": heads, "lr": rate}]

    def _head_parameters(self) -> list[nn.Parameter]:
        heads = [head for head in (self.distillation_head, self.adapted_head) if head is not None]
        return [parameter for head in heads for parameter in head.parameters()]

    def table_parameters(self) -> list[nn.Parameter]:
        return self.model.table_parameters()

    def adapter_parameters(self) -> list[nn.Parameter]:
        return list(self.adapter.parameters()) if self.adapter is not None else []


def head_logit(head: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(B,) from a head with one output."""
    logit: torch.Tensor = head(x)
    return logit.squeeze(1)
