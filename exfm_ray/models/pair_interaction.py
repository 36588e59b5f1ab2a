"""Second-order terms with something learned between each pair of fields, so that no tensor has a place for each pair.

With A the matrix that has W_ij in the blocks above its diagonal, Σ_{i<j} (eᵢ·W_ij) ⊙ eⱼ is (e·A) ⊙ e, summed over the
fields. Where the W_ij are diagonal, every dimension d is alone with an A_d of its own: ½ e_d·(A_d + A_dᵀ)·e_d.
"""

from itertools import pairwise
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from exfm_ray.models.pairs import FieldPairs
from exfm_ray.models.pieces import row_pieces
from exfm_ray.models.precision import in_float32
from exfm_ray.models.products import is_torch_alone, product

PANELS = 4
"""that the derivative by A is cut into: what lies under a panel's part of the diagonal is no parameter, nor computed"""


def pair_interaction(vectors: torch.Tensor, between: torch.Tensor, pairs: FieldPairs) -> torch.Tensor:
    """Second-order terms by dimension, Σ_{i<j} (eᵢ·W_ij) ⊙ eⱼ: (B, F·D) → (B, D).

    Args:
        vectors: the F vectors of each row side by side.
        between: W of the P pairs, (P, D, D), or their diagonals, (P, D).
        pairs: of the F fields.
    """
    count, dim = pairs.fields, between.shape[1]
    function: type[_OfMatrices | _OfDiagonals]
    if between.dim() == 3:
        blocks = between.new_zeros(count, count, dim, dim)
        blocks[pairs.first, pairs.second] = between
        function, above = _OfMatrices, blocks.transpose(1, 2).reshape(count * dim, -1)
    else:
        above = between.new_zeros(dim, count, count)
        above[:, pairs.first, pairs.second] = between.t()
        function = _OfDiagonals
    if is_torch_alone():
        return function.terms(vectors, above, dim)
    terms: torch.Tensor = in_float32(function, vectors, above, dim)
    return terms


class _OfMatrices(torch.autograd.Function):
    """(B, F·D), A: (F·D, F·D), D → (B, D)."""

    @staticmethod
    def terms(rows: torch.Tensor, above: torch.Tensor, dim: int) -> torch.Tensor:
        return _by_field(rows * product(rows, above), dim).sum(dim=1)

    @staticmethod
    def forward(ctx: Any, vectors: torch.Tensor, above: torch.Tensor, dim: int) -> torch.Tensor:
        ctx.save_for_backward(vectors, above)
        result = vectors.new_empty(len(vectors), dim)
        for piece in row_pieces(vectors):
            result[piece] = _OfMatrices.terms(vectors[piece], above, dim)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, torch.Tensor, None]:
        (grad,), (vectors, above) = grad_outputs, ctx.saved_tensors
        size, dim = len(above), grad.shape[1]
        cuts = [panel * size // PANELS for panel in range(PANELS + 1)]
        by_vectors, by_above = torch.empty_like(vectors), torch.zeros_like(above)
        for piece in row_pieces(vectors):
            rows, of_rows = vectors[piece], grad[piece].unsqueeze(1)
            weighted = (_by_field(rows, dim) * of_rows).flatten(1)
            by_rows = (_by_field(product(rows, above), dim) * of_rows).flatten(1)
            torch.add(by_rows, product(weighted, above.t()), out=by_vectors[piece])
            for start, stop in pairwise(cuts):
                by_above[:stop, start:stop] += product(rows[:, :stop].t(), weighted[:, start:stop])
        return by_vectors, by_above, None


class _OfDiagonals(torch.autograd.Function):
    """(B, F·D), the A_d: (D, F, F), D → (B, D).

    Rows stand innermost while it is computed: a transposition each way costs less than products with a stride.
    """

    @staticmethod
    def terms(rows: torch.Tensor, above: torch.Tensor, dim: int) -> torch.Tensor:
        columns = _columns(rows, dim)
        turned = torch.bmm(above + above.transpose(1, 2), columns)
        return ((columns * turned).sum(dim=1) * 0.5).t().contiguous()

    @staticmethod
    def forward(ctx: Any, vectors: torch.Tensor, above: torch.Tensor, dim: int) -> torch.Tensor:
        ctx.save_for_backward(vectors, above)
        return _OfDiagonals.terms(vectors, above, dim)  # at once: how many columns there are changes their rounding

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, torch.Tensor, None]:
        (grad,), (vectors, above) = grad_outputs, ctx.saved_tensors
        both = above + above.transpose(1, 2)
        by_vectors, by_above = torch.empty_like(vectors), torch.zeros_like(above)
        for piece in row_pieces(vectors):
            columns = _columns(vectors[piece], len(above))
            weighted = columns * grad[piece].t().unsqueeze(1)
            by_above.baddbmm_(weighted, columns.transpose(1, 2))
            by_columns = torch.bmm(both, weighted)
            by_vectors[piece] = by_columns.permute(2, 1, 0).flatten(1)
        return by_vectors, by_above, None


def _by_field(rows: torch.Tensor, dim: int) -> torch.Tensor:
    """(n, F·D) → (n, F, D)"""
    count, width = rows.shape
    return rows.view(count, width // dim, dim)


def _columns(rows: torch.Tensor, dim: int) -> torch.Tensor:
    """(n, F·D) → (D, F, n), rows innermost."""
    count, width = rows.shape
    return rows.t().contiguous().view(width // dim, dim, count).transpose(0, 1)
