"""Linear layers with ReLU and dropout between them, with one way through memory beside each matrix product.

As operations of their own, ReLU, a mask and its division each read and write a layer's values, and autograd keeps three
of their results. Here they are done piece by piece in a core's cache, and what the gradient needs is kept alone: the
values, zero where dropped or negative.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from exfm_ray.models.dropout import StepMasks
from exfm_ray.models.pieces import row_pieces
from exfm_ray.models.products import product

Masks = Sequence[StepMasks | None]


def hidden_layers(x: torch.Tensor, layers: Sequence[torch.Tensor], masks: Masks, activated: int) -> torch.Tensor:
    """h_i = m_i ⊙ ReLU(W_i·h_{i−1} + b_i) ÷ (1 − rate_i) from h_0 = x, layer by layer: (B, n) → (B, m).

    Args:
        layers: W_1 (m_1, n), b_1 (m_1,), W_2 and so on.
        masks: the m_i of each hidden layer, None where nothing is dropped.
        activated: how many layers are hidden ones: all of them, or all but the last, which is linear alone.
    """
    result: torch.Tensor = _HiddenLayers.apply(x, masks, activated, *layers)  # type: ignore[no-untyped-call]
    return result


class _HiddenLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, masks: Masks, activated: int, *layers: torch.Tensor) -> torch.Tensor:
        weights, biases = layers[::2], layers[1::2]
        inputs, scale = [x], 1.0
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            values = product(inputs[-1], _scaled(weight, scale).t(), bias)
            if index < activated:
                _activate(values, masks[index])
            scale = _scale(masks, index)  # of these values, to be taken with the weights that read them
            inputs.append(values)
        last = inputs.pop()
        ctx.save_for_backward(*weights, *inputs, *([last] if activated == len(weights) else []))
        ctx.masks, ctx.layers, ctx.activated = masks, len(weights), activated
        return last if scale == 1.0 else last * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor | None, ...]:
        (sent,), weights, values = grad_outputs, ctx.saved_tensors[: ctx.layers], ctx.saved_tensors[ctx.layers :]
        if ctx.activated == ctx.layers:
            sent = torch.ops.aten.threshold_backward(sent, values[-1], 0)
            if (scale := _scale(ctx.masks, ctx.layers - 1)) != 1.0:
                sent.mul_(scale)
        by_layers: list[torch.Tensor] = []
        for index in reversed(range(ctx.layers)):
            scale, read = _scale(ctx.masks, index - 1), values[index]
            by_layers[:0] = [_scaled_(product(sent.t(), read), scale), sent.sum(dim=0)]
            if index == 0:
                break
            sent = product(sent, _scaled(weights[index], scale))
            torch.ops.aten.threshold_backward.grad_input(sent, read, 0, grad_input=sent)
        return product(sent, weights[0]) if ctx.needs_input_grad[0] else None, None, None, *by_layers


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


def _scaled_(derivative: torch.Tensor, scale: float) -> torch.Tensor:
    return derivative if scale == 1.0 else derivative.mul_(scale)
