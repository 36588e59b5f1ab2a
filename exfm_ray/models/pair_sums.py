"""Σ_{i<j} eᵢ·W_ij·eⱼ over all pairs of fields as one quadratic form, so that no tensor has a place for each pair.

With A the matrix that has W_ij in the blocks above its diagonal, and S = A + Aᵀ, the sum is ½ e·S·e, and its derivative
by e is the S·e that it was computed from.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from exfm_ray.models.pairs import FieldPairs
from exfm_ray.models.precision import in_float32
from exfm_ray.models.products import product

PANELS = 4
"""that the derivative by A is cut into: what lies under a panel's part of the diagonal is no parameter, nor computed"""


class _MatrixSum(torch.autograd.Function):
    """½ x·(A + Aᵀ)·x by row: (B, n), (n, n) → (B,)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
        turned = product(x, above + above.t())
        ctx.save_for_backward(x, turned)
        return (x * turned).sum(dim=1).mul_(0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        grad = grad_outputs[0].unsqueeze(1)
        x, turned = ctx.saved_tensors
        weighted, size = x * grad, x.shape[1]
        by_above = x.new_zeros(size, size)
        for panel in range(PANELS):
            start, stop = panel * size // PANELS, (panel + 1) * size // PANELS
            by_above[:stop, start:stop] = product(weighted[:, :stop].t(), x[:, start:stop])
        return turned * grad, by_above


class _DiagonalSum(torch.autograd.Function):
    """½ Σ_d e_d·(A_d + A_dᵀ)·e_d by row, e_d the d-th dimension of all fields: (B, F, D), (D, F, F) → (B,).

    Rows stand innermost while it is computed: a transposition each way costs less than products with a stride.
    """

    @staticmethod
    def forward(ctx: Any, fields: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
        rows, count, dim = fields.shape
        columns = fields.flatten(1).t().contiguous().view(count, dim, rows).transpose(0, 1)
        turned = torch.bmm(above + above.transpose(1, 2), columns)
        ctx.save_for_backward(columns, turned)
        return (columns * turned).sum(dim=(0, 1)).mul_(0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        (grad,) = grad_outputs
        columns, turned = ctx.saved_tensors
        dim, count, rows = columns.shape
        by_above = torch.bmm(columns * grad, columns.transpose(1, 2))
        by_columns = (turned.transpose(0, 1) * grad).reshape(count * dim, rows)
        return by_columns.t().contiguous().view(rows, count, dim), by_above


def pair_sum(fields: torch.Tensor, between: torch.Tensor, pairs: FieldPairs) -> torch.Tensor:
    """Σ_{i<j} eᵢ·W_ij·eⱼ: (B, F, D) → (B,).

    Args:
        between: W of the P pairs, (P, D, D), or their diagonals, (P, D).
        pairs: of the F fields.
    """
    count, dim = fields.shape[1:]
    total: torch.Tensor
    if between.dim() == 3:
        blocks = between.new_zeros(count, dim, count, dim)
        blocks[pairs.first, :, pairs.second] = between
        total = in_float32(_MatrixSum, fields.flatten(1), blocks.view(count * dim, -1))
    else:
        above = between.new_zeros(dim, count, count)
        above[:, pairs.first, pairs.second] = between.t()
        total = in_float32(_DiagonalSum, fields, above)
    return total
