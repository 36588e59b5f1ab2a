"""Multi-layer perceptron."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from exfm_ray.models.batch_norm import BatchNorm
from exfm_ray.models.dice import Dice
from exfm_ray.models.dropout import Dropout
from exfm_ray.models.products import Linear

Activation = Literal["relu", "dice"]


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer, weights Xavier-normal, bias 0."""
    layer = Linear(inputs, outputs, bias=bias)
    nn.init.xavier_normal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int | None = None,
    *,
    activation: Activation = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> nn.Sequential:
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
    return nn.Sequential(*layers)
