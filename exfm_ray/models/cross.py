"""The cross network of DCNv2."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from exfm_ray.models.precision import is_reduced
from exfm_ray.models.products import product


class _MatrixCross(torch.autograd.Function):
    """All layers at once, so that the backward pass adds up the derivatives by x_l and by x0 where they stand."""

    @staticmethod
    def forward(ctx: Any, start: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        weights, biases = parameters[::2], parameters[1::2]
        crossed, inputs, maps = start, [], []
        for weight, bias in zip(weights, biases, strict=True):
            inputs.append(crossed)
            maps.append(product(crossed, weight.t(), bias))
            crossed = torch.addcmul(crossed, start, maps[-1])
        ctx.save_for_backward(*weights, *inputs, *maps)  # start is the first of the inputs
        return crossed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, ...]:
        layers = len(ctx.saved_tensors) // 3
        weights, inputs, maps = (ctx.saved_tensors[part * layers : (part + 1) * layers] for part in range(3))
        start = inputs[0]
        by_crossed, by_start = grad_outputs[0].clone(memory_format=torch.contiguous_format), torch.zeros_like(start)
        by_map = torch.empty_like(by_crossed)
        by_parameters: list[torch.Tensor] = []
        for weight, layer_input, layer_map in zip(reversed(weights), reversed(inputs), reversed(maps), strict=True):
            by_start.addcmul_(by_crossed, layer_map)
            torch.mul(by_crossed, start, out=by_map)
            by_parameters[:0] = [product(by_map.t(), layer_input), by_map.sum(dim=0)]
            by_crossed.add_(product(by_map, weight))
        return by_start.add_(by_crossed), *by_parameters


def matrix_cross(start: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """x_{l+1} = x_l + x0 ⊙ (W_l x_l + b_l), layer by layer from x0: (B, n) → (B, n) (Wang 2021, Eq. 1).

    Args:
        start: x0.
        parameters: W_0 (n, n), b_0 (n,), W_1, b_1 and so on, of at least one layer.
    """
    if is_reduced(start.device):
        return _reduced_cross(start, parameters)
    crossed: torch.Tensor = _MatrixCross.apply(start, *parameters)  # type: ignore[no-untyped-call]
    return crossed


def _reduced_cross(start: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """The same with W_l x_l + b_l in bfloat16, and in float32 what is added up from layer to layer."""
    crossed = start
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        crossed = crossed + start * functional.linear(crossed, weight, bias)
    return crossed
