"""Batch normalization that survives a batch of one row."""

import torch
from torch import nn
from torch.nn import functional


class BatchNorm(nn.BatchNorm1d):
    """(B, width) → (B, width), each column normalized over the batch, when predicting by its running mean and variance
    (Ioffe 2015).

    One row has no variance. A day's last batch may be one row, and is then normalized as in predicting.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002, the name that torch gave it
        if self.training and input.shape[0] == 1:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)
