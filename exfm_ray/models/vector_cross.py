"""The cross network of DCN's first version, with one way through memory for all derivatives."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from exfm_ray.models.pieces import row_pieces
from exfm_ray.models.precision import in_float32
from exfm_ray.models.products import is_torch_alone, product


def vector_cross(
    start: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor, beside: torch.Tensor
) -> torch.Tensor:
    """[x_L ; beside] with x_{l+1} = x_l + (w_l·x_l) x0 + b_l: (B, n + m) (Wang 2017, Eq. 3).

    Every x_l is c_l x0 + d_l with a number c_l per row and d_l = b_0 + … + b_{l-1} for all rows, so that the layers
    need of the rows their products w_l·x0 alone: c_{l+1} = c_l (1 + w_l·x0) + w_l·d_l, from c_0 = 1.

    Args:
        start: x0, (B, n).
        weights: w_0, w_1, …, (L, n).
        biases: b_0, b_1, …, (L, n).
        beside: (B, m).
    """
    if is_torch_alone():
        return torch.cat([_by_torch(start, weights, biases), beside], dim=1)
    result: torch.Tensor = in_float32(_VectorCross, start, weights, biases, beside)  # of which little is products
    return result


def _by_torch(start: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
    """x_L"""
    scales, shifts = _scales_and_shifts(functional.linear(start, weights), weights, biases)
    return torch.addcmul(shifts[-1], scales[-1].unsqueeze(1), start)


def _scales_and_shifts(
    products: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """c_0, …, c_L of each row, (B,), and d_0, …, d_L, (n,).

    Args:
        products: w_l·x0, (B, L).
    """
    scales, shifts = [torch.ones_like(products[:, 0])], [torch.zeros_like(biases[0])]
    for of_layer, weight, bias in zip(products.unbind(1), weights, biases, strict=True):
        scales.append(scales[-1] * (1 + of_layer) + weight @ shifts[-1])
        shifts.append(shifts[-1] + bias)
    return scales, shifts


class _VectorCross(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, start: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor, beside: torch.Tensor
    ) -> torch.Tensor:
        products = product(start, weights.t())
        scales, shifts = _scales_and_shifts(products, weights, biases)
        ctx.save_for_backward(start, weights, torch.stack(shifts), products, torch.stack(scales, dim=1))
        return torch.cat([torch.addcmul(shifts[-1], scales[-1].unsqueeze(1), start), beside], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, ...]:
        start, weights, shifts, products, scales = ctx.saved_tensors
        (grad,), width, layers = grad_outputs, start.shape[1], len(weights)
        by_start, by_shift = torch.empty_like(start), torch.zeros_like(shifts[0])
        by_weights, by_constants = torch.zeros_like(weights), [weights.new_zeros(()) for _ in range(layers)]
        for piece in row_pieces(start):
            x0, sent = start[piece], grad[piece, :width]
            by_shift += sent.sum(dim=0)
            by_scale = (sent * x0).sum(dim=1)
            by_products = torch.empty_like(products[piece])
            for layer in reversed(range(layers)):
                by_constants[layer] += by_scale.sum()
                torch.mul(by_scale, scales[piece, layer], out=by_products[:, layer])
                by_scale = torch.addcmul(by_scale, by_scale, products[piece, layer])
            by_weights.addmm_(by_products.t(), x0)
            torch.mul(sent, scales[piece, layers:], out=by_start[piece]).addmm_(by_products, weights)
        by_biases = torch.empty_like(weights)
        for layer in reversed(range(layers)):  # d_{l+1} = d_l + b_l, and the constant of l is w_l·d_l
            by_biases[layer] = by_shift
            by_weights[layer] += by_constants[layer] * shifts[layer]
            by_shift = by_shift + by_constants[layer] * weights[layer]
        return by_start, by_weights, by_biases, grad[:, width:]
