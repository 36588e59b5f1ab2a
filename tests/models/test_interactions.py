"""Products of fields with derivatives written by hand, against the same formulas left to autograd, in float64."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import pytest
import torch

from exfm_ray.models import pieces
from exfm_ray.models.cross import matrix_cross
from exfm_ray.models.interaction import pairwise_interaction
from exfm_ray.models.pair_interaction import PANELS, pair_interaction
from exfm_ray.models.pairs import FieldPairs
from exfm_ray.models.products import by_torch
from exfm_ray.models.vector_cross import vector_cross

FIELDS, DIM = 5, 3
WHOLE, DIAGONAL = (DIM, DIM), (DIM,)


def leaf(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def assert_same_function(
    ours: Callable[..., torch.Tensor], plain: Callable[..., torch.Tensor], *leaves: torch.Tensor
) -> None:
    """Values, and derivatives under a different weight for each value."""
    one, other = ours(*leaves), plain(*leaves)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    weights = leaf(*one.shape, seed=9).detach()
    derivatives = [torch.autograd.grad((made * weights).sum(), leaves) for made in (one, other)]
    for mine, theirs in zip(*derivatives, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9)


def plain_terms(vectors: torch.Tensor, between: torch.Tensor) -> torch.Tensor:
    """Pair by pair; a diagonal's term belongs to its own dimension, a matrix's to the second field's."""
    dim = between.shape[1]
    fields = vectors.unflatten(1, (-1, dim))
    pairs = FieldPairs(fields.shape[1])
    matrices = torch.diag_embed(between) if between.dim() == 2 else between
    first, second = (fields.index_select(1, member) for member in (pairs.first, pairs.second))
    return torch.einsum("bpd,pde,bpe->be", first, matrices, second)


def ours(count: int) -> Callable[..., torch.Tensor]:
    return lambda vectors, between: pair_interaction(vectors, between, FieldPairs(count))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 7])
@pytest.mark.parametrize("matrix", [WHOLE, DIAGONAL])
def test_second_order_with_something_between_fields(
    matrix: tuple[int, ...], rows: int, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces of four rows, whether torch computes it operation by operation or not."""
    monkeypatch.setattr(pieces, "CPU_PIECE", 4)
    with by_torch() if alone else nullcontext():
        assert_same_function(ours(FIELDS), plain_terms, leaf(rows, FIELDS * DIM), leaf(10, *matrix, seed=1))


@pytest.mark.parametrize("matrix", [WHOLE, DIAGONAL])
@pytest.mark.parametrize("count", [1, 2, PANELS + 1])
def test_any_number_of_fields_has_terms(count: int, matrix: tuple[int, ...]) -> None:
    between = leaf(FieldPairs(count).count, *matrix, seed=1)
    assert_same_function(ours(count), plain_terms, leaf(4, count * DIM), between)


@pytest.mark.parametrize("matrix", [WHOLE, DIAGONAL])
def test_vectors_may_be_a_view(matrix: tuple[int, ...]) -> None:
    function = ours(FIELDS)
    assert_same_function(
        lambda turned, between: function(turned.t(), between),
        lambda turned, between: function(turned.t().contiguous(), between),
        leaf(FIELDS * DIM, 6),
        leaf(10, *matrix, seed=1),
    )


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_second_order_of_a_factorization_machine(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "CPU_PIECE", 4)

    def plain(vectors: torch.Tensor) -> torch.Tensor:
        fields = vectors.unflatten(1, (FIELDS, DIM))
        return sum(fields[:, i] * fields[:, j] for i in range(FIELDS) for j in range(i))

    assert_same_function(partial(pairwise_interaction, fields=FIELDS), plain, leaf(rows, FIELDS * DIM))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("layers", [1, 3])
def test_cross_network_of_matrices(layers: int, rows: int, alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside two numbers of each row, whether torch computes it operation by operation or not, in pieces of four."""
    monkeypatch.setattr(pieces, "CPU_PIECE", 4)

    def plain(start: torch.Tensor, beside: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        crossed = start
        for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
            crossed = crossed + start * (crossed @ weight.t() + bias)
        return torch.cat([crossed, beside], dim=1)

    def ours(start: torch.Tensor, beside: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        with by_torch() if alone else nullcontext():
            return matrix_cross(start, beside, parameters)

    parameters = [leaf(*shape, seed=layer) for layer in range(layers) for shape in ((6, 6), (6,))]
    assert_same_function(ours, plain, leaf(rows, 6), leaf(rows, 2, seed=5), *parameters)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("layers", [1, 3])
def test_cross_network_of_vectors(layers: int, rows: int, alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces of four rows as in one."""
    monkeypatch.setattr(pieces, "CPU_PIECE", 4)

    def plain(start: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        crossed = start
        for weight, bias in zip(weights, biases, strict=True):
            crossed = crossed + start * (crossed @ weight).unsqueeze(1) + bias
        return torch.cat([crossed, beside], dim=1)

    def ours(*leaves: torch.Tensor) -> torch.Tensor:
        with by_torch() if alone else nullcontext():
            return vector_cross(*leaves)

    leaves = leaf(rows, 6), leaf(layers, 6, seed=1), leaf(layers, 6, seed=2), leaf(rows, 2, seed=3)
    assert_same_function(ours, plain, *leaves)
