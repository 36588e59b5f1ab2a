"""Linear layers with ReLU and dropout between them, with one way through memory beside each matrix product.

As operations of their own, ReLU, a mask and its division each read and write a layer's values, and autograd keeps three
of their results. Here they are done piece by piece in a core's cache, and what the gradient needs is kept alone: the
values, zero where dropped or negative. Under autocast all of it is in bfloat16, but for the result and the gradients of
parameters.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from exfm_ray.models.dropout import StepMasks
from exfm_ray.models.narrow_fields import AS_THEY_ARE, Columns
from exfm_ray.models.pieces import row_pieces
from exfm_ray.models.precision import factor_type, in_float32
from exfm_ray.models.products import product

Masks = Sequence[StepMasks | None]


def hidden_layers(
    x: torch.Tensor, layers: Sequence[torch.Tensor], masks: Masks, activated: int, columns: Columns = AS_THEY_ARE
) -> torch.Tensor:
    """h_i = m_i ⊙ ReLU(W_i·h_{i−1} + b_i) ÷ (1 − rate_i) from h_0 = x, layer by layer: (B, n) → (B, m).

    Args:
        layers: W_1 (m_1, n), b_1 (m_1,), W_2 and so on.
        masks: the m_i of each hidden layer, None where nothing is dropped.
        activated: how many layers are hidden ones: all of them, or all but the last, which is linear alone.
        columns: how the first layer reads h_0.
    """
    first, *others = layers
    layers = [columns.weights(first), *others]
    result: torch.Tensor = in_float32(_HiddenLayers, x, columns, masks, activated, factor_type(x), *layers)
    return result


class _HiddenLayers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        columns: Columns,
        masks: Masks,
        activated: int,
        factor: torch.dtype,
        *layers: torch.Tensor,
    ) -> torch.Tensor:
        # what a layer's values are divided by is taken with the weights that read them
        weights = [_scaled(weight, _scale(masks, index - 1)).to(factor) for index, weight in enumerate(layers[::2])]
        biases = [bias.to(factor) for bias in layers[1::2]]
        result, kept = x.new_empty(len(x), len(biases[-1])), []
        for piece in row_pieces(x):
            values = columns.of(x, piece).to(factor)
            for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                values = product(values, weight.t(), bias)
                if index < activated:
                    _activate(values, masks[index])
                    kept.append(values)
            result[piece] = values
        ctx.save_for_backward(x, *weights, *kept)
        ctx.columns, ctx.masks, ctx.layers, ctx.activated = columns, masks, len(weights), activated
        return result.mul_(_scale(masks, len(weights) - 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor | None, ...]:
        (grad,), (x, *saved) = grad_outputs, ctx.saved_tensors
        weights, kept, factor = saved[: ctx.layers], iter(saved[ctx.layers :]), saved[0].dtype
        scales = [_scale(ctx.masks, index - 1) for index in range(ctx.layers + 1)]
        by_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        back = ctx.columns.backward_weights(weights[0])
        by_weights = [x.new_zeros(weight.shape) for weight in weights]
        by_biases = [x.new_zeros(len(weight)) for weight in weights]
        for piece in row_pieces(x):
            values = [ctx.columns.of(x, piece).to(factor), *islice(kept, ctx.activated)]
            sent = grad[piece].to(factor)
            if ctx.activated == ctx.layers:
                sent = torch.ops.aten.threshold_backward(sent, values[-1], 0).mul_(scales[-1])
            for index in reversed(range(ctx.layers)):
                read = values[index]
                by_weights[index] += product(sent.t(), read)
                by_biases[index] += sent.sum(dim=0, dtype=x.dtype)
                if index:
                    sent = product(sent, weights[index])
                    torch.ops.aten.threshold_backward.grad_input(sent, read, 0, grad_input=sent)
                elif by_x is not None:
                    ctx.columns.add_to(by_x[piece], product(sent, back))
        by_layers: list[torch.Tensor] = []
        for by_weight, by_bias, scale in zip(by_weights, by_biases, scales, strict=False):
            by_layers += by_weight.mul_(scale), by_bias
        return by_x, None, None, None, None, *by_layers


def _activate(values: torch.Tensor, masks: StepMasks | None) -> None:
    """ReLU and mask, in place."""
    values.relu_()
    if masks is not None:
        values.mul_(masks.mask(values.shape, values.dtype))


def _scale(masks: Masks, index: int) -> float:
    """1 ÷ (1 − rate) of a hidden layer; 1 of any other."""
    found = masks[index] if 0 <= index < len(masks) else None
    return 1.0 if found is None else 1 / (1 - found.rate)


def _scaled(weight: torch.Tensor, scale: float) -> torch.Tensor:
    return weight if scale == 1.0 else weight * scale
