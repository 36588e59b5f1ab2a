"""The shape that every architecture has: a backbone, and a serving head on its output."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from exfm_ray.models.inputs import Inputs


class Model(nn.Module, ABC):
    """A CTR model, FM or VM. `serve(backbone(inputs))` are its logits (ExFM section 3.3: ŷ^S = φ(x))."""

    width: int
    """Length of the backbone's output x."""

    @abstractmethod
    def backbone(self, inputs: Inputs) -> torch.Tensor:
        """x: (B, width)"""

    @abstractmethod
    def serve(self, x: torch.Tensor) -> torch.Tensor:
        """Logits per task: (B, tasks)"""

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Logits per task: (B, tasks)"""
        return self.serve(self.backbone(inputs))

    def logits_and_backbone(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """What `forward` gives, bit for bit, and x for heads beside the serving one: (B, tasks), (B, width)"""
        x = self.backbone(inputs)
        return self.serve(x), x

    def table_parameters(self) -> list[nn.Parameter]:
        """Parameters with sparse gradients: embedding tables."""
        return [parameter for name, parameter in self.named_parameters() if name.rsplit(".", 1)[-1] == "table"]

    def dense_parameters(self) -> list[nn.Parameter]:
        """All other parameters."""
        return [parameter for name, parameter in self.named_parameters() if name.rsplit(".", 1)[-1] != "table"]

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())
