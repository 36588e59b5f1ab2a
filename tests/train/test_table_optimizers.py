"""Steps on touched rows against torch's own optimizers, and against a plain loop where torch has none."""

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from exfm_ray.train import table_optimizers
from exfm_ray.train.table_optimizers import Adagrad, LazyAdam, RowwiseAdagrad, TouchedRowsOptimizer

STEPS = [[0, 3], [3], [1, 3, 4], [0, 1, 2, 3, 4]]
UNTOUCHED = 5


def gradients() -> list[torch.Tensor]:
    """(6, 3) each, sparse; the last row is never touched."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.sparse_coo_tensor(
            torch.tensor([rows]),
            torch.randn(len(rows), 3, generator=generator, dtype=torch.float64),
            (6, 3),
            is_coalesced=True,
        )
        for rows in STEPS
    ]


def table() -> nn.Parameter:
    return nn.Parameter(torch.linspace(-1, 1, 18, dtype=torch.float64).view(6, 3))


def stepped(parameter: nn.Parameter, optimizer: Optimizer) -> nn.Parameter:
    for gradient in gradients():
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter


@pytest.mark.parametrize(
    ("ours", "theirs"), [(Adagrad, torch.optim.Adagrad), (LazyAdam, torch.optim.SparseAdam)], ids=["adagrad", "adam"]
)
def test_equal_to_torch(ours: type[TouchedRowsOptimizer], theirs: type[Optimizer]) -> None:
    one, other = table(), table()
    stepped(one, ours([one], 0.1))
    stepped(other, theirs([other], lr=0.1))  # type: ignore[call-arg]
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)  # where ε stands differs: as published, and not
    assert torch.equal(one[UNTOUCHED], table()[UNTOUCHED])


def test_rowwise_adagrad_against_a_loop() -> None:
    one, expected, sums = table(), table().detach(), [0.0] * 6
    for rows, gradient in zip(STEPS, gradients(), strict=True):
        for row in rows:
            g = gradient.to_dense()[row]
            sums[row] += float((g * g).mean())
            expected[row] -= 0.1 * g / (sums[row] ** 0.5 + 1e-10)
    optimizer = RowwiseAdagrad([one], 0.1)
    torch.testing.assert_close(stepped(one, optimizer).detach(), expected)
    assert optimizer.state[one]["sum"].shape == (6, 1)


def test_for_tables_of_numbers_rowwise_is_adagrad() -> None:
    results = []
    for kind in (Adagrad, RowwiseAdagrad):
        parameter = nn.Parameter(torch.ones(6, 1, dtype=torch.float64))
        optimizer = kind([parameter], 0.1)
        for gradient in gradients():
            parameter.grad = torch.sparse_coo_tensor(
                gradient.indices(), gradient.values()[:, :1], (6, 1), is_coalesced=True
            )
            optimizer.step()
        results.append(parameter.detach())
    torch.testing.assert_close(*results)


def test_a_table_without_gradient_stays() -> None:
    parameter = table()
    RowwiseAdagrad([parameter], 0.1).step()
    assert torch.equal(parameter, table())


def test_a_closure_is_refused() -> None:
    with pytest.raises(ValueError, match="takes no closure"):
        LazyAdam([table()], 0.1).step(lambda: 0.0)


@pytest.mark.parametrize("kind", [Adagrad, RowwiseAdagrad, LazyAdam])
def test_a_row_given_twice_gets_one_step_of_its_sum(kind: type[TouchedRowsOptimizer]) -> None:
    results = []
    for rows in ([4, 1, 4], [1, 4]):
        parameter, values = table(), torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64).expand(3, 3)
        given = values if len(rows) == 3 else torch.stack([values[1], values[0] + values[2]])
        optimizer = kind([parameter], 0.1)
        for _ in range(2):
            parameter.grad = torch.sparse_coo_tensor(torch.tensor([rows]), given, (6, 3))
            optimizer.step()
        results.append(parameter.detach())
    assert torch.equal(*results)


@pytest.mark.parametrize("kind", [Adagrad, RowwiseAdagrad, LazyAdam])
def test_rows_piece_by_piece_are_those_at_once(
    kind: type[TouchedRowsOptimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, in_pieces = table(), table()
    stepped(at_once, kind([at_once], 0.1))
    monkeypatch.setattr(table_optimizers, "PIECE_ROWS", 2)
    stepped(in_pieces, kind([in_pieces], 0.1))
    assert torch.equal(at_once, in_pieces)
