"""Multi-layer perceptron."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from exfm_ray.models.dice import Dice

Activation = Literal["relu", "dice"]


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer, weights Xavier-normal, bias 0."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_normal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def mlp(
    inputs: int, hidden: Sequence[int], outputs: int | None = None, *, activation: Activation = "relu"
) -> nn.Sequential:
    """(B, inputs) → (B, outputs), or (B, hidden[-1]) where outputs is None: linear and activation per hidden layer."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [linear(inputs, width), Dice(width) if activation == "dice" else nn.ReLU()]
        inputs = width
    if outputs is not None:
        layers.append(linear(inputs, outputs))
    return nn.Sequential(*layers)
