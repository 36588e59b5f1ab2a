"""The cross network of DCNv2."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from exfm_ray.models.pieces import row_pieces
from exfm_ray.models.precision import factor_type, in_float32
from exfm_ray.models.products import is_torch_alone, product


class _MatrixCross(torch.autograd.Function):
    """All layers at once, so that the backward pass does what is no matrix product piece by piece in a core's cache."""

    @staticmethod
    def forward(
        ctx: Any, start: torch.Tensor, beside: torch.Tensor, keep: bool, factor: torch.dtype, *parameters: torch.Tensor
    ) -> torch.Tensor:
        weights, width = [weight.to(factor) for weight in parameters[::2]], start.shape[1]
        result = start.new_empty(len(start), width + beside.shape[1])
        result[:, width:] = beside
        crossed, inputs, maps = start, [], []
        for weight, bias in zip(weights, parameters[1::2], strict=True):
            layer_input = crossed.to(factor)
            mapped = product(layer_input, weight.t(), bias.to(factor))
            if keep:
                inputs.append(layer_input)
                maps.append(mapped)
            into = _room(crossed, start, result, is_read=keep and layer_input is crossed, is_last=weight is weights[-1])
            for piece in row_pieces(start):
                torch.addcmul(crossed[piece], start[piece], mapped[piece].to(start.dtype), out=into[piece])
            crossed = into
        ctx.save_for_backward(start, *weights, *inputs, *maps)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor | None, ...]:
        start, *saved = ctx.saved_tensors
        layers = len(saved) // 3
        weights, inputs, maps = (saved[part * layers : (part + 1) * layers] for part in range(3))
        (grad,), width = grad_outputs, start.shape[1]
        by_crossed, by_start = torch.empty_like(start), torch.empty_like(start)
        by_map = torch.empty_like(maps[0])
        by_parameters: list[torch.Tensor] = []
        of_input = None
        for weight, layer_input, layer_map in zip(reversed(weights), reversed(inputs), reversed(maps), strict=True):
            by_bias = torch.zeros_like(start[0])
            for piece in row_pieces(start):
                sent, mapped = by_crossed[piece], layer_map[piece].to(start.dtype)
                if of_input is None:
                    sent.copy_(grad[piece, :width])
                    torch.mul(sent, mapped, out=by_start[piece])
                else:
                    by_start[piece].addcmul_(sent.add_(of_input[piece]), mapped)
                by_bias += torch.mul(sent, start[piece], out=by_map[piece]).sum(dim=0, dtype=start.dtype)
            by_parameters[:0] = [product(by_map.t(), layer_input).to(start.dtype), by_bias]
            of_input = product(by_map, weight)
        assert of_input is not None
        return by_start.add_(by_crossed).add_(of_input), grad[:, width:], None, None, *by_parameters


def _room(
    crossed: torch.Tensor, start: torch.Tensor, result: torch.Tensor, *, is_read: bool, is_last: bool
) -> torch.Tensor:
    """Where a layer's output goes: into the result, or over its input if nobody reads that again."""
    if is_last:
        return result[:, : start.shape[1]]
    return torch.empty_like(start) if crossed is start or is_read else crossed


def matrix_cross(start: torch.Tensor, beside: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """[x_L ; beside] with x_{l+1} = x_l + x0 ⊙ (W_l x_l + b_l) from x0: (B, n + m) (Wang 2021, Eq. 1).

    Args:
        start: x0, (B, n).
        beside: (B, m).
        parameters: W_0 (n, n), b_0 (n,), W_1, b_1 and so on, of at least one layer.
    """
    if is_torch_alone():
        return torch.cat([_by_torch(start, parameters), beside], dim=1)
    keep, factor = torch.is_grad_enabled(), factor_type(start)
    crossed: torch.Tensor = in_float32(_MatrixCross, start, beside, keep, factor, *parameters)
    return crossed


def _by_torch(start: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """x_L"""
    crossed = start
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        crossed = torch.addcmul(crossed, start, functional.linear(crossed, weight, bias))
    return crossed
