"""The cross network of DCNv2."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from exfm_ray.models.narrow_fields import AS_THEY_ARE, Columns
from exfm_ray.models.pieces import row_pieces
from exfm_ray.models.precision import factor_type, in_float32
from exfm_ray.models.products import is_torch_alone, product


class _MatrixCross(torch.autograd.Function):
    """All layers for some rows, then for the next, so that what they hand on stays in a core's cache.

    Kept for the gradient are x0 and the W_l x_l + b_l alone: the x_l are sums of these.
    """

    @staticmethod
    def forward(
        ctx: Any,
        start: torch.Tensor,
        columns: Columns,
        beside: torch.Tensor,
        keep: bool,
        factor: torch.dtype,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        weights, width = [weight.to(factor) for weight in parameters[::2]], start.shape[1]
        biases = [bias.to(factor) for bias in parameters[1::2]]
        result = start.new_empty(len(start), width + beside.shape[1])
        result[:, width:] = beside
        maps = []
        for piece in row_pieces(start):
            crossed = x0 = start[piece]
            for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                read = crossed if layer else columns.of(start, piece)
                mapped = product(read.to(factor), weight.t(), bias)
                into = result[piece, :width] if layer == len(weights) - 1 else None
                crossed = torch.addcmul(crossed, x0, mapped.to(x0.dtype), out=into)
                if keep:
                    maps.append(mapped)
        ctx.save_for_backward(start, *weights, *maps)
        ctx.columns, ctx.layers = columns, len(weights)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor | None, ...]:
        start, *saved = ctx.saved_tensors
        columns, layers = ctx.columns, ctx.layers
        weights, maps, factor = saved[:layers], iter(saved[layers:]), saved[0].dtype
        (grad,), width = grad_outputs, start.shape[1]
        by_start = torch.empty_like(start)
        back = [columns.backward_weights(weights[0]), *weights[1:]]
        by_weights, by_biases = ([start.new_zeros(of.shape) for of in like] for like in (weights, [start[0]] * layers))
        for piece in row_pieces(start):
            x0, by_x0 = start[piece], torch.zeros_like(start[piece])
            by_crossed = grad[piece, :width].clone()
            of_layers = [mapped.to(start.dtype) for mapped in islice(maps, layers)]
            inputs = [x0]
            for mapped in of_layers[:-1]:
                inputs.append(torch.addcmul(inputs[-1], x0, mapped))
            for layer in reversed(range(layers)):
                by_x0.addcmul_(by_crossed, of_layers[layer])
                by_map = by_crossed * x0
                by_biases[layer] += by_map.sum(dim=0)
                by_map = by_map.to(factor)
                read = inputs[layer] if layer else columns.of(start, piece)
                by_weights[layer] += product(by_map.t(), read.to(factor))
                by_read = product(by_map, back[layer])
                if layer:
                    by_crossed += by_read
                else:
                    columns.add_to(by_crossed, by_read)
            torch.add(by_x0, by_crossed, out=by_start[piece])
        by_parameters = (part for pair in zip(by_weights, by_biases, strict=True) for part in pair)
        return by_start, None, grad[:, width:], None, None, *by_parameters


def matrix_cross(
    start: torch.Tensor, beside: torch.Tensor, parameters: Sequence[torch.Tensor], columns: Columns = AS_THEY_ARE
) -> torch.Tensor:
    """[x_L ; beside] with x_{l+1} = x_l + x0 ⊙ (W_l x_l + b_l) from x0: (B, n + m) (Wang 2021, Eq. 1).

    Args:
        start: x0, (B, n).
        beside: (B, m).
        parameters: W_0 (n, n), b_0 (n,), W_1, b_1 and so on, of at least one layer.
        columns: how the first layer reads x0.
    """
    if is_torch_alone():
        return torch.cat([_by_torch(start, parameters), beside], dim=1)
    keep, factor = torch.is_grad_enabled(), factor_type(start)
    first, *others = parameters
    parameters = [columns.weights(first), *others]
    crossed: torch.Tensor = in_float32(_MatrixCross, start, columns, beside, keep, factor, *parameters)
    return crossed


def _by_torch(start: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """x_L"""
    crossed = start
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        crossed = torch.addcmul(crossed, start, functional.linear(crossed, weight, bias))
    return crossed
