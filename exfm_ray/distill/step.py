"""One training step of a VM (ExFM Algorithm 1)."""

from collections.abc import Callable, Sequence

import torch
from torch.optim import Optimizer

from exfm_ray.config import Precision
from exfm_ray.distill.losses import adapter_loss, student_loss
from exfm_ray.distill.student import Student
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.precision import computed_in, multiplied_in

Optimizers = Sequence[Optimizer]


def as_they_are(optimizers: Optimizers) -> None:
    """The gradients of a batch that is here as a whole."""


def train_step(
    student: Student,
    inputs: Inputs,
    label: torch.Tensor,
    fm_prob: torch.Tensor | None,
    optimizers: Optimizers,
    adapter_optimizer: Optimizer | None,
    precision: Precision = "float32",
    complete: Callable[[Optimizers], None] = as_they_are,
) -> None:
    """Update the student on one batch.

    First the adapter on the true label (line 1), then, with its new output held fixed (line 2), the VM (line 3).

    Args:
        label: (B,) float32, 0 or 1.
        fm_prob: (B,) float32 in [0, 1], or None for method `none`.
        optimizers: of all that the VM's loss trains.
        adapter_optimizer: of the adapter, for method `ah_sa`.
        precision: of the VM's forward and backward pass.
        complete: makes the gradients of some optimizers' parameters those of the whole batch, of which these rows are a
            part.
    """
    if adapter_optimizer is not None:
        assert fm_prob is not None
        adapter_optimizer.zero_grad(set_to_none=True)
        adapter_loss(student, fm_prob, label).backward()  # type: ignore[no-untyped-call]
        complete([adapter_optimizer])
        adapter_optimizer.step()
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    with multiplied_in(precision):
        with computed_in(precision, label.device):
            loss = student_loss(student, inputs, label, fm_prob)
        loss.backward()  # type: ignore[no-untyped-call]
    complete(optimizers)
    for optimizer in optimizers:
        optimizer.step()
