"""Linear layers with ReLU and dropout between them, with one way through memory beside each matrix product.

As operations of their own, ReLU, a mask and its division each read and write a layer's values, and autograd keeps three
of their results. Here they are done piece by piece in a core's cache, and what the gradient needs is kept alone: the
values, zero where dropped or negative. Under autocast all of it is in bfloat16, but for the result and the gradients of
parameters.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from exfm_ray.models.dropout import StepMasks
from exfm_ray.models.pieces import row_pieces
from exfm_ray.models.precision import factor_type, in_float32
from exfm_ray.models.products import product

Masks = Sequence[StepMasks | None]


def hidden_layers(x: torch.Tensor, layers: Sequence[torch.Tensor], masks: Masks, activated: int) -> torch.Tensor:
    """h_i = m_i ⊙ ReLU(W_i·h_{i−1} + b_i) ÷ (1 − rate_i) from h_0 = x, layer by layer: (B, n) → (B, m).

    Args:
        layers: W_1 (m_1, n), b_1 (m_1,), W_2 and so on.
        masks: the m_i of each hidden layer, None where nothing is dropped.
        activated: how many layers are hidden ones: all of them, or all but the last, which is linear alone.
    """
    result: torch.Tensor = in_float32(_HiddenLayers, x, masks, activated, factor_type(x), *layers)
    return result


class _HiddenLayers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, masks: Masks, activated: int, factor: torch.dtype, *layers: torch.Tensor
    ) -> torch.Tensor:
        # what a layer's values are divided by is taken with the weights that read them
        weights = [_scaled(weight, _scale(masks, index - 1)).to(factor) for index, weight in enumerate(layers[::2])]
        inputs = [x.to(factor)]
        for index, (weight, bias) in enumerate(zip(weights, layers[1::2], strict=True)):
            values = product(inputs[-1], weight.t(), bias.to(factor))
            if index < activated:
                _activate(values, masks[index])
            inputs.append(values)
        last = inputs.pop()
        ctx.save_for_backward(*weights, *inputs, *([last] if activated == len(weights) else []))
        ctx.masks, ctx.layers, ctx.activated = masks, len(weights), activated
        return _scaled(last.to(x.dtype), _scale(masks, len(weights) - 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor | None, ...]:
        weights, values = ctx.saved_tensors[: ctx.layers], ctx.saved_tensors[ctx.layers :]
        (grad,), kind = grad_outputs, values[0].dtype
        sent = grad.to(kind)
        if ctx.activated == ctx.layers:
            sent = torch.ops.aten.threshold_backward(sent, values[-1], 0)
            if (scale := _scale(ctx.masks, ctx.layers - 1)) != 1.0:
                sent.mul_(scale)
        by_layers: list[torch.Tensor] = []
        for index in reversed(range(ctx.layers)):
            scale, read = _scale(ctx.masks, index - 1), values[index]
            by_weight = product(sent.t(), read).to(grad.dtype)
            by_layers[:0] = [by_weight.mul_(scale) if scale != 1.0 else by_weight, sent.sum(dim=0, dtype=grad.dtype)]
            if index == 0:
                break
            sent = product(sent, weights[index])
            torch.ops.aten.threshold_backward.grad_input(sent, read, 0, grad_input=sent)
        by_x = product(sent, weights[0]).to(grad.dtype) if ctx.needs_input_grad[0] else None
        return by_x, None, None, None, *by_layers


def _activate(values: torch.Tensor, masks: StepMasks | None) -> None:
    """ReLU and mask, in place."""
    if masks is None:
        values.relu_()
        return
    for piece in row_pieces(values):
        part = values[piece].relu_()
        part.mul_(masks.mask(part.shape, part.dtype))


def _scale(masks: Masks, index: int) -> float:
    """1 ÷ (1 − rate) of a hidden layer; 1 of any other."""
    found = masks[index] if 0 <= index < len(masks) else None
    return 1.0 if found is None else 1 / (1 - found.rate)


def _scaled(weight: torch.Tensor, scale: float) -> torch.Tensor:
    return weight if scale == 1.0 else weight * scale
