"""The cross network of DCNv2."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from exfm_ray.models.pieces import row_pieces
from exfm_ray.models.precision import is_reduced
from exfm_ray.models.products import is_torch_alone, product


class _MatrixCross(torch.autograd.Function):
    """All layers at once, so that the backward pass does what is no matrix product piece by piece in a core's cache."""

    @staticmethod
    def forward(ctx: Any, start: torch.Tensor, beside: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        weights, biases = parameters[::2], parameters[1::2]
        inputs, maps = [start], []
        for weight, bias in zip(weights, biases, strict=True):
            maps.append(product(inputs[-1], weight.t(), bias))
            inputs.append(torch.addcmul(inputs[-1], start, maps[-1]))
        ctx.save_for_backward(*weights, *inputs[:-1], *maps)
        return torch.cat([inputs[-1], beside], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, ...]:
        layers = len(ctx.saved_tensors) // 3
        weights, inputs, maps = (ctx.saved_tensors[part * layers : (part + 1) * layers] for part in range(3))
        start, (grad,) = inputs[0], grad_outputs
        width = start.shape[1]
        by_crossed, by_start, by_map = torch.empty_like(start), torch.empty_like(start), torch.empty_like(start)
        by_parameters: list[torch.Tensor] = []
        of_input = None
        for weight, layer_input, layer_map in zip(reversed(weights), reversed(inputs), reversed(maps), strict=True):
            by_bias = torch.zeros_like(weight[0])
            for piece in row_pieces(start):
                sent, x0 = by_crossed[piece], start[piece]
                if of_input is None:
                    sent.copy_(grad[piece, :width])
                    torch.mul(sent, layer_map[piece], out=by_start[piece])
                else:
                    by_start[piece].addcmul_(sent.add_(of_input[piece]), layer_map[piece])
                by_bias += torch.mul(sent, x0, out=by_map[piece]).sum(dim=0)
            by_parameters[:0] = [product(by_map.t(), layer_input), by_bias]
            of_input = product(by_map, weight)
        assert of_input is not None
        return by_start.add_(by_crossed).add_(of_input), grad[:, width:], *by_parameters


def matrix_cross(start: torch.Tensor, beside: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """[x_L ; beside] with x_{l+1} = x_l + x0 ⊙ (W_l x_l + b_l) from x0: (B, n + m) (Wang 2021, Eq. 1).

    Args:
        start: x0, (B, n).
        beside: (B, m).
        parameters: W_0 (n, n), b_0 (n,), W_1, b_1 and so on, of at least one layer.
    """
    if is_torch_alone(start.device):
        return torch.cat([_by_torch(start, parameters), beside], dim=1)
    crossed: torch.Tensor = _MatrixCross.apply(start, beside, *parameters)  # type: ignore[no-untyped-call]
    return crossed


def _by_torch(start: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """x_L; under autocast with W_l x_l + b_l in bfloat16, and in float32 what is added up from layer to layer."""
    crossed = start
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        mapped = functional.linear(crossed, weight, bias)
        crossed = crossed + start * mapped if is_reduced(start.device) else torch.addcmul(crossed, start, mapped)
    return crossed
