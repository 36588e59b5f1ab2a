"""How much is computed at once, where what is handed on from operation to operation is to stay in a core's cache."""

from collections.abc import Iterator

import torch

CPU_PIECE = 512
"""a core's cache has room for a layer of 512 values of each, and its matrix products are at their fastest"""
DEVICE_PIECE = 2**20
"""elsewhere starting an operation is what costs"""


def piece_size(device: torch.device) -> int:
    """Elements."""
    return CPU_PIECE if device.type == "cpu" else DEVICE_PIECE


CPU_VALUES = 2**17
"""of a matrix: half a megabyte, so that the next operation finds what the last one left"""


def row_pieces(matrix: torch.Tensor) -> Iterator[slice]:
    """The rows of a matrix, (B, n), in runs for operations on each value alone; all of them on a GPU.

    Runs have a multiple of 4 rows, so that masks of dropout are drawn as for all rows at once.
    """
    rows, width = matrix.shape
    size = max(CPU_VALUES // max(width, 1) // 4 * 4, 4) if matrix.device.type == "cpu" else max(rows, 1)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
