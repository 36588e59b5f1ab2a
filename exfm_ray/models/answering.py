"""A model's answers for many rows at once, without gradients."""

import torch

from exfm_ray.config import Precision
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.model import Model
from exfm_ray.models.precision import computed_in, multiplied_in

FORWARD_ROWS = 8_192
"""at once on a CPU: what the layers of a larger batch hand on leaves the caches, and beyond 32 MiB the C library maps
and clears its memory anew at every layer"""


@torch.no_grad()
def answers(model: Model, inputs: Inputs, device: torch.device, precision: Precision = "float32") -> torch.Tensor:
    """Probabilities per task of B rows: (B, tasks) float32 in [0, 1], on the device.

    Args:
        model: on the device, set to evaluate.
        inputs: on any device; B may be 0.
        precision: of matrix products.
    """
    size = FORWARD_ROWS if device.type == "cpu" else max(len(inputs), 1)
    pieces = [inputs.rows(start, min(start + size, len(inputs))) for start in range(0, max(len(inputs), 1), size)]
    with multiplied_in(precision), computed_in(precision, device):
        logits = torch.cat([model(piece.to(device)) for piece in pieces])
    return torch.sigmoid(logits.float())
