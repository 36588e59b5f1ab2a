"""Data-adaptive activation (Zhou 2018, Deep Interest Network)."""

import torch
from torch import nn

from exfm_ray.models.batch_norm import BatchNorm


class Dice(nn.Module):
    """p·s + (1 − p)·α·s with p = σ((s − E[s]) / √(Var[s] + ε)): (B, width) → (B, width).

    α is learned for each unit, from 0; the moments are the batch's in training and running ones otherwise.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(width))
        self.standardized = BatchNorm(width, affine=False, epsilon=1e-8)

    def forward(self, s: torch.Tensor) -> torch.Tensor:
        on = torch.sigmoid(self.standardized(s))
        return s * (on + (1 - on) * self.alpha)
