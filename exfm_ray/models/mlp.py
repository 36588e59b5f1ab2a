"""Multi-layer perceptron."""

from collections.abc import Sequence

from torch import nn


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer, weights Xavier-normal, bias 0."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def mlp(inputs: int, hidden: Sequence[int], outputs: int | None = None) -> nn.Sequential:
    """(B, inputs) → (B, outputs), or (B, hidden[-1]) where outputs is None: linear and ReLU per hidden layer."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [linear(inputs, width), nn.ReLU()]
        inputs = width
    if outputs is not None:
        layers.append(linear(inputs, outputs))
    return nn.Sequential(*layers)
