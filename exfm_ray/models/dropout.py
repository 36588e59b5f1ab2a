"""Dropout whose masks depend on the model's own start and steps alone."""

import hashlib
from collections.abc import Sequence

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
        return self.next_step(x.device).drop(x)

    def next_step(self, device: torch.device) -> "StepMasks":
        """The masks of the next step of training, which counts as done."""
        digest = hashlib.sha256(repr((self.seed, self.position, self.steps)).encode()).digest()
        self.steps += 1
        generator = torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        return StepMasks(self.rate, generator)

    def get_extra_state(self) -> torch.Tensor:
        """(2,) int64: seed and steps. On the CPU always, so that no step waits for a device."""
        return torch.tensor([self.seed, self.steps], dtype=torch.int64, device="cpu")

    def set_extra_state(self, state: torch.Tensor) -> None:
        self.seed, self.steps = (int(value) for value in state)


class StepMasks:
    """The masks of one layer in one step, drawn one after the other.

    A value has 16 random bits, a fourth of what one draw of the generator gives: drawing a float or a truth value each
    costs ten times as much. So rates are met to 1/65,536.

    Args:
        rate: of zeros, in [0, 1).
    """

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        self.rate = rate
        self.generator = generator
        self.highest_dropped = round(rate * 2**16) - 2**15 - 1
        """of the int16 values; −32,769 where none is dropped"""

    def drop(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape, which it keeps."""
        return x * self.mask(x.shape, x.dtype).mul_(1 / (1 - self.rate))

    def mask(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """1 where a value is kept, 0 where it is dropped."""
        kept = torch.empty(*shape, dtype=dtype, device=self.generator.device)
        if self.highest_dropped < -(2**15):
            return kept.fill_(1)
        words = torch.empty(-(-kept.numel() // 4), dtype=torch.int64, device=kept.device)
        bits = words.random_(-(2**63), None, generator=self.generator).view(torch.int16)[: kept.numel()]
        return torch.gt(bits.view(kept.shape), self.highest_dropped, out=kept)
