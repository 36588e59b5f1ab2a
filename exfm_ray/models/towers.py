"""Hard parameter sharing: tasks share a trunk and end in towers of their own (Caruana 1997)."""

from collections.abc import Sequence

import torch
from torch import nn

from exfm_ray.models.mlp import linear, mlp


class Towers(nn.Module):
    """An MLP with one output per task: (B, inputs) → (B, tasks)."""

    def __init__(self, inputs: int, hidden: Sequence[int], tasks: int) -> None:
        super().__init__()
        self.of_task = nn.ModuleList(mlp(inputs, hidden, 1) for _ in range(tasks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([tower(x) for tower in self.of_task], dim=1)


def task_outputs(inputs: int, tower_hidden: Sequence[int], tasks: int) -> nn.Module:
    """From a trunk's output to logits, (B, inputs) → (B, tasks): one linear layer, or towers where they have layers."""
    return Towers(inputs, tower_hidden, tasks) if tower_hidden else linear(inputs, tasks)
