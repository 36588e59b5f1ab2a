"""eᵢ·W_ij·eⱼ of every pair of fields, some rows at a time, so that what has D numbers per pair stays in the caches."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from exfm_ray.models.precision import in_float32

BLOCK_ROWS = 512
"""that are computed at once; of 256 to 1,024 the least time on a CPU with 512 KiB of second-level cache"""


class _PairTerms(torch.autograd.Function):
    """The backward pass computes eᵢ·W_ij anew: D numbers per row and pair are dearer to keep than to make."""

    @staticmethod
    def forward(ctx: Any, fields: torch.Tensor, between: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(fields, between)
        terms = fields.new_empty(between.shape[0], len(fields))
        matrices = _turned(between)
        for start, stop, columns in _blocks(fields):
            for field, pairs in _pairs_of_field(columns.shape[0]):
                turned = _applied(matrices[pairs], columns[field])
                torch.sum(turned.mul_(columns[field + 1 :]), dim=1, out=terms[pairs, start:stop])
        return terms.t().contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        fields, between = ctx.saved_tensors
        grad = grad_outputs[0].t().contiguous().unsqueeze(1)
        matrices = _turned(between)
        by_fields = torch.empty_like(fields, memory_format=torch.contiguous_format)
        by_matrices = torch.zeros_like(matrices)
        for start, stop, columns in _blocks(fields):
            by_columns = torch.zeros_like(columns)
            for field, pairs in _pairs_of_field(columns.shape[0]):
                of_pairs = grad[pairs, :, start:stop]
                by_columns[field + 1 :].addcmul_(_applied(matrices[pairs], columns[field]), of_pairs)
                weighted = columns[field + 1 :] * of_pairs
                _add_derivatives(matrices[pairs], columns[field], weighted, by_matrices[pairs], by_columns[field])
            by_fields[start:stop] = by_columns.flatten(0, 1).t().view_as(by_fields[start:stop])
        return by_fields, _turned(by_matrices)


def _turned(between: torch.Tensor) -> torch.Tensor:
    """Every W_ij as it is applied to a column: transposed where it is a matrix."""
    return between.transpose(1, 2).contiguous() if between.dim() == 3 else between


def _blocks(fields: torch.Tensor) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Start and stop of some rows, and their embeddings (F, D, rows)."""
    rows, count, dim = fields.shape
    for start in range(0, rows, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, rows)
        yield start, stop, fields[start:stop].flatten(1).t().contiguous().view(count, dim, stop - start)


def _pairs_of_field(count: int) -> Iterator[tuple[int, slice]]:
    """Every field but the last, and its pairs with all later ones."""
    start = 0
    for field in range(count - 1):
        stop = start + count - 1 - field
        yield field, slice(start, stop)
        start = stop


def _applied(matrices: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Matrices or diagonals of p pairs to the columns of their first field, (D, rows): (p, D, rows)."""
    if matrices.dim() == 2:
        return matrices.unsqueeze(2) * column
    return (matrices.flatten(0, 1) @ column).view(len(matrices), *column.shape)


def _add_derivatives(
    matrices: torch.Tensor,
    column: torch.Tensor,
    weighted: torch.Tensor,
    by_matrices: torch.Tensor,
    by_column: torch.Tensor,
) -> None:
    """Add the derivatives of Σ weighted ⊙ applied(matrices, column) to those by matrices and by column.

    Args:
        weighted: (p, D, rows), the second fields' columns times the gradient of each pair's term.
    """
    if matrices.dim() == 3:
        flat = weighted.flatten(0, 1)
        torch.addmm(by_column, matrices.flatten(0, 1).t(), flat, out=by_column)
        by_matrix = by_matrices.flatten(0, 1)
        torch.addmm(by_matrix, flat, column.t(), out=by_matrix)
    else:
        by_column.add_((matrices.unsqueeze(2) * weighted).sum(dim=0))
        by_matrices.add_(weighted.mul_(column).sum(dim=2))


def pair_terms(fields: torch.Tensor, between: torch.Tensor) -> torch.Tensor:
    """eᵢ·W_ij·eⱼ of all pairs i < j, in their order: (B, F, D) → (B, P).

    Args:
        between: W of the pairs, (P, D, D), or their diagonals, (P, D).
    """
    terms: torch.Tensor = in_float32(_PairTerms, fields, between)
    return terms
