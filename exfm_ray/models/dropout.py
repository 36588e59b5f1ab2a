"""Dropout whose masks depend on the model's own start and steps alone."""

import hashlib

import torch
from torch import nn


class Dropout(nn.Module):
    """In training, each value is 0 with probability `rate` and otherwise ÷ (1 − rate) (Srivastava 2014).

    The mask of a step comes from a generator keyed by the model's seed, this layer's position and the number of steps
    that the layer has trained, so that it is the same whatever else draws random numbers in the process. Seed and steps
    are in the module's state: a training that goes on from a checkpoint goes on with the masks that would have come.

    Args:
        rate: in [0, 1).
        position: of this layer among the dropout layers of its model.
    """

    def __init__(self, rate: float, position: int) -> None:
        super().__init__()
        self.rate = rate
        self.position = position
        # the seed that the model is built under, not a number drawn from it: no other layer's start may change
        self.seed = torch.initial_seed() & (2**63 - 1)
        self.steps = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape, which it keeps."""
        if not self.training:
            return x
        mask = torch.empty_like(x).bernoulli_(1 - self.rate, generator=self._generator(x.device))
        self.steps += 1
        return x * mask / (1 - self.rate)

    def _generator(self, device: torch.device) -> torch.Generator:
        digest = hashlib.sha256(repr((self.seed, self.position, self.steps)).encode()).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def get_extra_state(self) -> torch.Tensor:
        """(2,) int64: seed and steps. On the CPU always, so that no step waits for a device."""
        return torch.tensor([self.seed, self.steps], dtype=torch.int64, device="cpu")

    def set_extra_state(self, state: torch.Tensor) -> None:
        self.seed, self.steps = (int(value) for value in state)
