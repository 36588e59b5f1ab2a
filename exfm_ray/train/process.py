"""A worker of Ray Train that begins."""

import torch
from ray.train.torch import get_device

from exfm_ray.computing import begin_computing


def training_device() -> torch.device:
    """The device that Ray Train gave to this worker, which is set up to compute."""
    begin_computing()
    device = get_device()
    assert isinstance(device, torch.device)
    return device
