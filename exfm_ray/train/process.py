"""What every training process sets before it computes."""

import torch
from ray.train.torch import get_device


def training_device() -> torch.device:
    """The device that Ray Train gave to this worker; one thread, so that sums run in the same order everywhere."""
    torch.set_num_threads(1)
    device = get_device()
    assert isinstance(device, torch.device)
    return device
