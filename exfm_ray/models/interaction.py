"""The second-order terms of a factorization machine."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from exfm_ray.models.pieces import row_pieces
from exfm_ray.models.products import is_torch_alone


def pairwise_interaction(vectors: torch.Tensor, fields: int) -> torch.Tensor:
    """Second-order terms by dimension, ½[(Σᵢ eᵢ)² − Σᵢ eᵢ²]: (B, F·D) → (B, D).

    Args:
        vectors: the F vectors of each row side by side.
        fields: F.
    """
    if is_torch_alone():
        each = _each(vectors, fields)
        return (each.sum(dim=1).square() - each.square().sum(dim=1)) * 0.5
    terms: torch.Tensor = _PairwiseInteraction.apply(vectors, fields)  # type: ignore[no-untyped-call]
    return terms


class _PairwiseInteraction(torch.autograd.Function):
    """Its derivative by eᵢ is Σⱼ eⱼ − eᵢ: one pass over the fields, where autograd would make three."""

    @staticmethod
    def forward(ctx: Any, vectors: torch.Tensor, fields: int) -> torch.Tensor:
        each = _each(vectors, fields)
        total = each.sum(dim=1)
        squares = torch.empty_like(total)
        for piece in row_pieces(vectors):
            torch.sum(each[piece].square(), dim=1, out=squares[piece])
        ctx.fields = fields
        ctx.save_for_backward(vectors, total)
        return total.square().sub_(squares).mul_(0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, None]:
        (grad,), (vectors, total) = grad_outputs, ctx.saved_tensors
        by_vectors = torch.empty_like(vectors)
        each, by_each = _each(vectors, ctx.fields), _each(by_vectors, ctx.fields)
        torch.addcmul((grad * total).unsqueeze(1), grad.unsqueeze(1), each, value=-1, out=by_each)
        return by_vectors, None


def _each(vectors: torch.Tensor, fields: int) -> torch.Tensor:
    """(B, F·D) → (B, F, D)"""
    rows, width = vectors.shape
    return vectors.view(rows, fields, width // fields)
