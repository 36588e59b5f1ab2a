"""What a model reads: one batch's features as tensors."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SequenceInput:
    """A batch's histories without padding: row b holds `values[offsets[b]:offsets[b + 1]]`."""

    values: torch.Tensor
    """(V,) int64, rows of the embedding table"""
    offsets: torch.Tensor
    """(B + 1,) int64, from 0 to V"""

    def rows(self, start: int, stop: int) -> "SequenceInput":
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return SequenceInput(self.values[first:last], self.offsets[start : stop + 1] - first)


@dataclass(frozen=True)
class Inputs:
    """Features of B rows, in the schema's order within each kind."""

    categorical: torch.Tensor
    """(B, C) int64, rows of each feature's embedding table"""
    numeric: torch.Tensor
    """(B, N) float32"""
    sequences: tuple[SequenceInput, ...]

    def __len__(self) -> int:
        return int(self.categorical.shape[0])

    def rows(self, start: int, stop: int) -> "Inputs":
        """Rows from start up to stop, without copying but for the sequences' offsets."""
        return Inputs(
            categorical=self.categorical[start:stop],
            numeric=self.numeric[start:stop],
            sequences=tuple(sequence.rows(start, stop) for sequence in self.sequences),
        )

    def to(self, device: torch.device) -> "Inputs":
        return Inputs(
            categorical=self.categorical.to(device, non_blocking=True),
            numeric=self.numeric.to(device, non_blocking=True),
            sequences=tuple(SequenceInput(s.values.to(device), s.offsets.to(device)) for s in self.sequences),
        )
