"""Products of matrices of float32 numbers, on a CPU by the library that multiplies them fastest.

torch multiplies by MKL, which on CPUs of other makers than Intel stays with AVX2. oneDNN, which is part of torch too,
uses AVX-512 wherever a CPU has it: on an AMD EPYC of the fifth generation 250 instead of 110 GFLOP/s a core, in float32
all the same. Which of the two multiplies depends on the CPU and the sizes alone, so equal runs give equal numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from exfm_ray.models.precision import is_reduced

SMALLEST = 2**21
"""multiply-adds of the smallest product that oneDNN gets: below, what a call of it costs is more than it saves"""

_torch_alone: ContextVar[bool] = ContextVar("torch_alone", default=False)


@contextmanager
def by_torch() -> Iterator[None]:
    """In this block all products are torch's own: for programs of other machines, and for what counts operations."""
    token = _torch_alone.set(True)
    try:
        yield
    finally:
        _torch_alone.reset(token)


def is_torch_alone() -> bool:
    """Whether what is computed here must be torch's own operations one by one: a compiler or a program reads them."""
    return torch.compiler.is_compiling() or _torch_alone.get()


def product(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """left·right, plus the bias in each row; no gradient finds a way back: (m, k), (k, n), (n,) → (m, n).

    All of one type, which is the result's.
    """
    if _is_for_onednn(left, right):
        return _onednn(left, right, bias)
    return left @ right if bias is None else torch.addmm(bias, left, right)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """x·Wᵀ + b: (…, n) → (…, m).

    Args:
        weight: (m, n).
        bias: (m,).
    """
    flat = x.flatten(0, -2)
    if not _is_for_onednn(flat, weight.t()):
        return functional.linear(x, weight, bias)
    mapped: torch.Tensor = _Linear.apply(flat, weight, bias)  # type: ignore[no-untyped-call]
    # no view where none is needed: an activation in place would copy what it is a view of
    return mapped if x.dim() == 2 else mapped.view(*x.shape[:-1], len(weight))


class Linear(nn.Linear):
    """`nn.Linear` with the products of this module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight.t(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor | None, ...]:
        (grad,), (x, weight) = grad_outputs, ctx.saved_tensors
        by_x = product(grad, weight) if ctx.needs_input_grad[0] else None
        by_weight = product(grad.t(), x) if ctx.needs_input_grad[1] else None
        return by_x, by_weight, grad.sum(dim=0) if ctx.needs_input_grad[2] else None


def _onednn(left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    if not (right.is_contiguous() or right.t().is_contiguous()):
        right = right.contiguous()  # columns of a wider matrix, for one, oneDNN multiplies by a plain loop
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), bias, "none", [], "")
    return found


def _is_for_onednn(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether oneDNN multiplies these: enough of them, of float32, and no vector, which both read equally fast."""
    if is_torch_alone() or is_reduced(left.device):
        return False  # before any size is looked at: a program is for all sizes
    return (
        left.device.type == "cpu"
        and left.dtype == right.dtype == torch.float32
        and left.shape[0] * left.shape[1] * right.shape[1] >= SMALLEST
        and min(*left.shape, right.shape[1]) > 1
        and _is_faster()
    )


@cache
def _is_faster() -> bool:
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and torch.backends.cpu.get_cpu_capability() == "AVX512"
