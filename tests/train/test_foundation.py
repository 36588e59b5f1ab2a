"""The FM's loss over several tasks, some of whose labels may be left out."""

import pytest
import torch
from torch.nn import functional

from exfm_ray.train.foundation import multi_task_loss

NAN = float("nan")


def test_the_loss_is_the_sum_over_tasks_of_the_mean_over_rows() -> None:
    logits, labels = torch.randn(5, 2), torch.randint(0, 2, (5, 2)).float()
    of_tasks = [functional.binary_cross_entropy_with_logits(logits[:, task], labels[:, task]) for task in (0, 1)]
    assert multi_task_loss(logits, labels).item() == pytest.approx(sum(loss.item() for loss in of_tasks))


def test_a_label_that_is_left_out_is_in_no_mean_and_has_no_gradient() -> None:
    logits = torch.randn(3, 2, requires_grad=True)
    labels = torch.tensor([[1.0, NAN], [0.0, 1.0], [NAN, 0.0]])
    loss = multi_task_loss(logits, labels, ~labels.isnan())
    first = functional.binary_cross_entropy_with_logits(logits[:2, 0], labels[:2, 0])
    second = functional.binary_cross_entropy_with_logits(logits[1:, 1], labels[1:, 1])
    assert loss.item() == pytest.approx((first + second).item())
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.eq(0).tolist() == [[False, True], [False, False], [True, False]]


def test_a_task_without_any_label_in_a_batch_adds_nothing() -> None:
    logits = torch.randn(2, 2, requires_grad=True)
    labels = torch.tensor([[1.0, NAN], [0.0, NAN]])
    loss = multi_task_loss(logits, labels, ~labels.isnan())
    assert loss.item() == pytest.approx(functional.binary_cross_entropy_with_logits(logits[:, 0], labels[:, 0]).item())
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
