"""How many elements of the histories are computed at once."""

import torch

CPU_PIECE = 512
"""a core's cache has room for a layer of 512 values of each, and its matrix products are at their fastest"""
DEVICE_PIECE = 2**20
"""elsewhere starting an operation is what costs"""


def piece_size(device: torch.device) -> int:
    """Elements."""
    return CPU_PIECE if device.type == "cpu" else DEVICE_PIECE
