"""How much each element of the histories counts for its row's target, computed in pieces that stay in a core's cache.

A batch's histories have hundreds of thousands of elements, and in the network that scores them a layer has hundreds of
values for each. As whole tensors these go to memory and back with each operation, and the memory is asked of the system
anew in each step, which costs as much as the matrix products do. So the elements go through all layers piece by piece,
and only what the gradient needs is kept: the values of the hidden layers, zero where dropped or negative.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch

from exfm_ray.models.dropout import StepMasks
from exfm_ray.models.pieces import row_pieces
from exfm_ray.models.precision import in_float32
from exfm_ray.models.products import product


def scores(
    history: torch.Tensor,
    row: torch.Tensor,
    place: torch.Tensor,
    of_row: tuple[torch.Tensor, torch.Tensor],
    of_place: tuple[torch.Tensor, torch.Tensor],
    of_read: torch.Tensor,
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]],
    masks: Sequence[StepMasks],
) -> torch.Tensor:
    """The last layer's W_n·h_{n−1} + b_n for each element: (V,).

    h_0 = m_0 ⊙ ReLU(f + W·[z ; t ⊙ z]) and h_i = m_i ⊙ ReLU(W_i·h_{i−1} + b_i), where an element's t and f are those of
    its row plus those of its place.

    Args:
        history: (V, d), the z.
        row: (V,) int64, of each element.
        place: (V,) int64, of each element.
        of_row: t and f of each row, (B, d) and (B, h).
        of_place: t and f of each place, (P, d) and (P, h).
        of_read: (h, 2d), the W.
        layers: W_i and b_i of the layers after the first, the last with one output.
        masks: of 0 and 1, the m_i; one for each hidden layer, or none at all.
    """
    keep = torch.is_grad_enabled()
    parts = (row, place, history, *of_row, *of_place, of_read, *(part for layer in layers for part in layer))
    result: torch.Tensor = in_float32(_Scores, keep, masks, *parts)
    return result


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, keep: bool, masks: Sequence[StepMasks], *parts: torch.Tensor) -> torch.Tensor:
        row, place, history, targets, of_row, places, of_place, of_read, *layers = parts
        weights, biases = layers[::2], layers[1::2]
        result, kept = history.new_empty(len(history)), []
        for piece in row_pieces(history):
            rows, at = row[piece], place[piece]
            _, read = _read(history[piece], targets, rows, places, at)
            values = product(read, of_read.t())
            values.add_(of_row.index_select(0, rows)).add_(of_place.index_select(0, at))
            for index in range(len(weights)):
                if index:
                    values = product(values, weights[index - 1].t(), biases[index - 1])
                values.relu_()
                if masks:
                    values.mul_(masks[index].mask(values.shape, values.dtype))
                if keep:
                    kept.append(values)
            torch.addmv(biases[-1], values, weights[-1][0], out=result[piece])
        ctx.save_for_backward(*parts, *kept)
        ctx.parts = len(parts)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        (gradient,), saved = gradients, ctx.saved_tensors
        parts, kept = saved[: ctx.parts], iter(saved[ctx.parts :])
        row, place, history, targets, of_row, places, of_place, of_read, *layers = parts
        weights = layers[::2]
        sums = [torch.zeros_like(part) for part in (targets, of_row, places, of_place, of_read, *layers)]
        to_targets, to_rows, to_places, to_of_places, to_read, *to_layers = sums
        to_weights, to_biases = to_layers[::2], to_layers[1::2]
        to_history = torch.empty_like(history)
        for piece in row_pieces(history):
            rows, at, z = row[piece], place[piece], history[piece]
            sent = gradient[piece].unsqueeze(1)
            hidden = list(islice(kept, len(weights)))
            for index, values in reversed(list(enumerate(hidden))):
                to_biases[index].add_(sent.sum(0))
                to_weights[index].add_(product(sent.t(), values))
                sent = product(sent, weights[index])
                torch.ops.aten.threshold_backward.grad_input(sent, values, 0, grad_input=sent)
            target, read = _read(z, targets, rows, places, at)
            to_read.add_(product(sent.t(), read))
            to_rows.index_add_(0, rows, sent)
            to_of_places.index_add_(0, at, sent)
            to_z, to_product = product(sent, of_read).chunk(2, dim=1)
            torch.addcmul(to_z, target, to_product, out=to_history[piece])
            to_target = to_product * z
            to_targets.index_add_(0, rows, to_target)
            to_places.index_add_(0, at, to_target)
        return None, None, None, None, to_history, *sums


def _read(
    z: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor, places: torch.Tensor, at: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """t and [z ; t ⊙ z]: (p, d) and (p, 2d)."""
    target = targets.index_select(0, rows).add_(places.index_select(0, at))
    return target, torch.cat([z, target * z], dim=1)
