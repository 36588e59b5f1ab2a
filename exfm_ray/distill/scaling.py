"""Label scaling and gradient scaling (ExFM section 3.3)."""

from typing import Any

import torch


def scale_label(fm_prob: torch.Tensor, label_scale: float | torch.Tensor) -> torch.Tensor:
    """min(α·ŷ^F, 1): (B,) in [0, 1] → (B,) in [0, 1]."""
    return (fm_prob * label_scale).clamp(max=1.0)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, grad_scale: float) -> torch.Tensor:
        ctx.grad_scale = grad_scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor, None]:
        (grad,) = grad_outputs
        return grad * ctx.grad_scale, None


def scale_gradient(x: torch.Tensor, grad_scale: float | torch.Tensor) -> torch.Tensor:
    """x itself; the gradient that comes back through here is multiplied by β.

    Args:
        grad_scale: β; a tensor where functions are mapped over several.
    """
    if isinstance(grad_scale, torch.Tensor):
        return x.detach() + grad_scale * (x - x.detach())
    scaled: torch.Tensor = _ScaleGradient.apply(x, grad_scale)  # type: ignore[no-untyped-call]
    return scaled
