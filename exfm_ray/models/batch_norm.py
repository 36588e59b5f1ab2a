"""Batch normalization that a one-pass stream can use."""

import torch
from torch import nn
from torch.nn import functional


class BatchNorm(nn.Module):
    """(x − E[x]) / √(Var[x] + ε), times γ plus β where `affine`: (B, width) → (B, width) (Ioffe 2015).

    In training the moments are the batch's, and the running ones move to them by a tenth; otherwise they are the
    running ones. So they are for a batch of one row too, which has no variance: a day may end in one.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, width: int, *, affine: bool = True, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(width)) if affine else None
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training and len(x) > 1,
            eps=self.epsilon,
        )
