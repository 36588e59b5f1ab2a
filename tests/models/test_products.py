"""Products of either library against float64, with all gradients, and which sizes go to which."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from exfm_ray.models.products import SMALLEST, Linear, by_torch, linear, product

ROWS, INPUTS, OUTPUTS = 512, 96, 64
LARGE = ROWS * INPUTS * OUTPUTS


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_equals_float64(ours: Callable[..., torch.Tensor], plain: Callable[..., torch.Tensor], *of: torch.Tensor):
    """Value and derivatives of the same function in float32 and in float64."""
    found = []
    for function, dtype in ((ours, torch.float32), (plain, torch.float64)):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in of]
        made = function(*leaves)
        weights = numbers(*made.shape, seed=9).to(dtype)
        found.append([made, *torch.autograd.grad((made * weights).sum(), leaves)])
    for mine, exact in zip(*found, strict=True):
        torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=2e-5 * exact.abs().max().item())


@pytest.mark.parametrize("outputs", [1, 2, OUTPUTS])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_map_of_many_rows(outputs: int, bias: bool) -> None:
    assert LARGE >= SMALLEST
    parts = [numbers(ROWS, INPUTS), numbers(outputs, INPUTS, seed=1)]
    parts += [numbers(outputs, seed=2)] if bias else []
    assert_equals_float64(linear, functional.linear, *parts)


def test_a_linear_map_keeps_the_dimensions_before_the_last() -> None:
    x, weight = numbers(8, ROWS // 8, INPUTS), numbers(OUTPUTS, INPUTS, seed=1)
    assert_equals_float64(linear, functional.linear, x, weight)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight), functional.linear(x, weight), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [(ROWS, INPUTS), (8, ROWS // 8, INPUTS)])
def test_what_a_layer_gives_may_be_changed_in_place(shape: tuple[int, ...]) -> None:
    def activated(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda x, weight: functional.relu(function(x, weight), inplace=True)

    parts = numbers(*shape), numbers(OUTPUTS, INPUTS, seed=1)
    assert_equals_float64(activated(linear), activated(functional.linear), *parts)


VIEWS = {
    "as it lies": lambda x: x,
    "turned": lambda x: x.t().contiguous().t(),
    "columns of a wider one": lambda x: torch.cat([x, x], dim=1)[:, x.shape[1] // 2 : x.shape[1] // 2 + x.shape[1]],
    "expanded": lambda x: x[:, :1].expand(-1, x.shape[1]),
}
any_view = pytest.mark.parametrize("viewed", VIEWS.values(), ids=VIEWS)


@any_view
def test_matrices_may_lie_anyhow(viewed: Callable[[torch.Tensor], torch.Tensor]) -> None:
    left, right = viewed(numbers(ROWS, INPUTS)), viewed(numbers(INPUTS, OUTPUTS, seed=1))
    bias = numbers(OUTPUTS, seed=2)
    exact = left.double() @ right.double() + bias.double()
    torch.testing.assert_close(product(left, right, bias).double(), exact, rtol=1e-5, atol=1e-4)


class Multiplied(TorchDispatchMode):
    """The right-hand factors that oneDNN is given in this block."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: list[torch.Tensor] = []

    def __torch_dispatch__(self, operation: Any, types: Any, of: Any = (), named: Any = None) -> Any:
        if operation is torch.ops.mkldnn._linear_pointwise.default:
            self.factors.append(of[1])
        return operation(*of, **(named or {}))


@any_view
def test_onednn_gets_no_matrix_with_gaps(viewed: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """It would multiply that by a plain loop, a thousand times as slowly."""
    left, right = numbers(ROWS, INPUTS), viewed(numbers(INPUTS, OUTPUTS, seed=1))
    with Multiplied() as multiplied:
        product(left, right)
        product(left, right.t().contiguous().t())
    assert all(factor.is_contiguous() or factor.t().is_contiguous() for factor in multiplied.factors)


def test_small_products_and_those_of_other_machines_are_torchs_own() -> None:
    layer, x = Linear(INPUTS, OUTPUTS), numbers(ROWS, INPUTS)
    with by_torch():
        assert torch.equal(layer(x), functional.linear(x, layer.weight, layer.bias))
    few = x[: SMALLEST // (INPUTS * OUTPUTS)]
    assert torch.equal(layer(few), functional.linear(few, layer.weight, layer.bias))


def test_no_rows_have_a_product() -> None:
    assert linear(numbers(0, INPUTS), numbers(OUTPUTS, INPUTS)).shape == (0, OUTPUTS)
