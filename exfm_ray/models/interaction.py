"""The second-order terms of a factorization machine."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable


class _PairwiseInteraction(torch.autograd.Function):
    """Its derivative by eᵢ is Σⱼ eⱼ − eᵢ: one pass over the fields, where autograd would make three."""

    @staticmethod
    def forward(ctx: Any, fields: torch.Tensor) -> torch.Tensor:
        total = fields.sum(dim=1)
        ctx.save_for_backward(fields, total)
        return total.square().sub_(fields.square().sum(dim=1)).mul_(0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> torch.Tensor:
        (grad,) = grad_outputs
        fields, total = ctx.saved_tensors
        return torch.addcmul((grad * total).unsqueeze(1), grad.unsqueeze(1), fields, value=-1)


def pairwise_interaction(fields: torch.Tensor) -> torch.Tensor:
    """Second-order terms by dimension, ½[(Σᵢ eᵢ)² − Σᵢ eᵢ²]: (B, F, D) → (B, D)."""
    terms: torch.Tensor = _PairwiseInteraction.apply(fields)  # type: ignore[no-untyped-call]
    return terms
