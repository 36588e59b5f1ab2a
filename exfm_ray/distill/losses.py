"""What a VM minimizes, by method (ExFM Eq. 1 to 7)."""

import torch
from torch.nn import functional

from exfm_ray.distill.scaling import scale_gradient, scale_label
from exfm_ray.distill.student import Student, head_logit
from exfm_ray.models.inputs import Inputs


def cross_entropy(logit: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """h of Eq. 1, with the minus sign that the paper's print lacks: mean over B of −[y·log σ(l) + (1−y)·log(1−σ(l))].

    Args:
        logit: (B,).
        target: (B,) in [0, 1]; a label or a pseudo-label.
    """
    return functional.binary_cross_entropy_with_logits(logit, target)


def adapter_loss(student: Student, fm_prob: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """L_sta = h(ŷ^SA, y) (Eq. 6)."""
    assert student.adapter is not None
    return cross_entropy(student.adapter(fm_prob), label)


def student_loss(student: Student, inputs: Inputs, label: torch.Tensor, fm_prob: torch.Tensor | None) -> torch.Tensor:
    """The loss of the student's method; no gradient of it reaches the adapter.

    Args:
        label: (B,) 0 or 1.
        fm_prob: (B,) in [0, 1]; None is allowed for `none` alone.
    """
    if student.method == "none":
        return cross_entropy(student.model(inputs).squeeze(1), label)  # L_s, Eq. 3
    assert fm_prob is not None, f"method {student.method} needs supervision"
    weight = student.distill.loss_weight
    if student.method == "kd":  # Eq. 2 where w and α are 1
        logit = student.model(inputs).squeeze(1)
        pseudo_label = scale_label(fm_prob, student.distill.label_scale)
        return cross_entropy(logit, label) + weight * cross_entropy(logit, pseudo_label)
    logits, x = student.model.logits_and_backbone(inputs)
    loss = cross_entropy(logits.squeeze(1), label) + weight * _distillation_loss(student, x, fm_prob)  # Eq. 5
    return loss + _adapted_loss(student, x, fm_prob) if student.method == "ah_sa" else loss


def _distillation_loss(student: Student, x: torch.Tensor, fm_prob: torch.Tensor) -> torch.Tensor:
    """L_d = h(ŷ^D, min(α·ŷ^F, 1)), its gradient into x multiplied by β (Eq. 4)."""
    assert student.distillation_head is not None
    logit = head_logit(student.distillation_head, scale_gradient(x, student.distill.grad_scale))
    return cross_entropy(logit, scale_label(fm_prob, student.distill.label_scale))


def _adapted_loss(student: Student, x: torch.Tensor, fm_prob: torch.Tensor) -> torch.Tensor:
    """L_sa = h(ŷ^D2, SG(σ(ŷ^SA))) by the second distillation head (Eq. 7); neither w nor β applies to it."""
    assert student.adapter is not None
    assert student.adapted_head is not None
    with torch.no_grad():
        target = torch.sigmoid(student.adapter(fm_prob))
    return cross_entropy(head_logit(student.adapted_head, x), target)
