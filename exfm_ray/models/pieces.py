"""How much is computed at once, where what is handed on from operation to operation is to stay in a core's cache."""

from collections.abc import Iterator

import torch

CPU_PIECE = 512
"""a core's cache has room for a layer of 512 values of each, and its matrix products are at their fastest"""
DEVICE_PIECE = 2**20
"""elsewhere starting an operation is what costs"""


def piece_size(device: torch.device) -> int:
    """Rows, or elements of histories."""
    return CPU_PIECE if device.type == "cpu" else DEVICE_PIECE


def row_pieces(matrix: torch.Tensor) -> Iterator[slice]:
    """The rows of a matrix, (B, n), in runs that are computed one after the other.

    They are about equally long: products would round a last one of few rows otherwise. They have a multiple of 4 rows,
    so that masks of dropout are drawn as for all rows at once.
    """
    rows = len(matrix)
    count = max(-(-rows // piece_size(matrix.device)), 1)
    size = max(-(-rows // (4 * count)) * 4, 4)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
