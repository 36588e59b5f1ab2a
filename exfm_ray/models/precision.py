"""The precision that a step or an answer is computed in. Parameters, gradients and optimizers are float32 in each."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from exfm_ray.config import Precision


@contextmanager
def computed_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """For a forward pass, without the backward one: with "bf16" it computes matrix products in bfloat16."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


@contextmanager
def multiplied_in(precision: Precision) -> Iterator[None]:
    """For a forward pass and its backward pass: with "tf32" a GPU multiplies float32 numbers of 10 bits' mantissa."""
    matrices = torch.backends.cuda.matmul
    before, matrices.allow_tf32 = matrices.allow_tf32, precision == "tf32"
    try:
        yield
    finally:
        matrices.allow_tf32 = before


def is_reduced(device: torch.device) -> bool:
    """Whether matrix products are in bfloat16 where this is called."""
    return torch.is_autocast_enabled(device.type)


def factor_type(values: torch.Tensor) -> torch.dtype:
    """In which these are factors of matrix products where this is called."""
    return torch.bfloat16 if is_reduced(values.device) else values.dtype


def in_float32(function: type[torch.autograd.Function], *values: Any) -> Any:
    """What a function with its own backward pass gives: it gets float32 numbers, and what it computes is what it says,
    whatever the precision around it. One that multiplies in that precision is told its `factor_type`."""
    device = next(value.device for value in values if isinstance(value, torch.Tensor))
    if not is_reduced(device):
        return function.apply(*values)  # type: ignore[no-untyped-call]
    with torch.autocast(device.type, enabled=False):
        return function.apply(*(_widened(value) for value in values))  # type: ignore[no-untyped-call]


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16 else value
