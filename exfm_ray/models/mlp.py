"""Multi-layer perceptron."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from exfm_ray.models.batch_norm import BatchNorm
from exfm_ray.models.dice import Dice
from exfm_ray.models.dropout import Dropout, StepMasks
from exfm_ray.models.hidden_layers import hidden_layers
from exfm_ray.models.narrow_fields import AS_THEY_ARE, Columns
from exfm_ray.models.products import Linear, is_torch_alone

Activation = Literal["relu", "dice"]


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer, weights Xavier-normal, bias 0."""
    layer = Linear(inputs, outputs, bias=bias)
    nn.init.xavier_normal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Mlp(nn.Sequential):
    """Layers one after the other, as `mlp` orders them; linear ones with ReLU and dropout alone are computed together.

    A part of them that does not begin with a linear layer is computed layer by layer.
    """

    def forward(self, x: torch.Tensor, columns: Columns = AS_THEY_ARE) -> torch.Tensor:
        """(…, inputs) → (…, outputs)

        Args:
            columns: how the first layer reads x, where layers are computed together.
        """
        if is_torch_alone() or not self._is_joint():
            result: torch.Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return result
        linears = [layer for layer in self if isinstance(layer, Linear)]
        activated = sum(isinstance(layer, nn.ReLU) for layer in self)
        parameters = [part for layer in linears for part in (layer.weight, layer.bias)]
        flat = x if x.dim() == 2 else x.flatten(0, -2)
        found = hidden_layers(flat, parameters, self._masks(x.device, activated), activated, columns)
        return found if x.dim() == 2 else found.view(*x.shape[:-1], found.shape[1])

    @property
    def reading(self) -> int:
        """Outputs of the first layer where it may read columns, otherwise 0."""
        first = self[0]
        return first.out_features if isinstance(first, Linear) and self._is_joint() else 0

    def _is_joint(self) -> bool:
        layers = list(self)
        return isinstance(layers[0], Linear) and all(isinstance(layer, (Linear, nn.ReLU, Dropout)) for layer in layers)

    def _masks(self, device: torch.device, activated: int) -> list[StepMasks | None]:
        """Of each hidden layer, for the next step where this is one of training."""
        masks: list[StepMasks | None] = [None] * activated
        at = -1
        for layer in self:
            at += isinstance(layer, nn.ReLU)
            if isinstance(layer, Dropout) and layer.training:
                masks[at] = layer.next_step(device)
        return masks


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int | None = None,
    *,
    activation: Activation = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> Mlp:
    """(B, inputs) → (B, outputs), or (B, hidden[-1]) where outputs is None.

    Per hidden layer: linear, batch normalization if asked for, activation, dropout if its rate is above 0.
    """
    layers: list[nn.Module] = []
    for position, width in enumerate(hidden):
        layers.append(linear(inputs, width))
        if batch_norm:
            layers.append(BatchNorm(width))
        layers.append(Dice(width) if activation == "dice" else nn.ReLU(inplace=True))
        if dropout:
            layers.append(Dropout(dropout, position))
        inputs = width
    if outputs is not None:
        layers.append(linear(inputs, outputs))
    return Mlp(*layers)
