"""What a model reads: one batch's features as tensors."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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
    lookups: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)
    """by the layout of a table the `Lookup` of these rows in it, kept for all models that read them"""
    part_of: "tuple[Inputs, int, int] | None" = field(default=None, compare=False, repr=False)
    """a batch, and where these rows begin and end in it, if it is shared out"""

    def __len__(self) -> int:
        return int(self.categorical.shape[0])

    def rows(self, start: int, stop: int) -> "Inputs":
        """Rows from start up to stop, without copying but for the sequences' offsets."""
        if start == 0 and stop == len(self):
            return self
        return Inputs(
            categorical=self.categorical[start:stop],
            numeric=self.numeric[start:stop],
            sequences=tuple(sequence.rows(start, stop) for sequence in self.sequences),
        )

    def part(self, start: int, stop: int) -> "Inputs":
        """As `rows`, for one of several processes that train on a batch together.

        The rows of tables that the whole batch touches count as touched: so a table's gradient has the same rows in
        each of these processes.
        """
        return replace(self.rows(start, stop), part_of=(self, start, stop))

    def to(self, device: torch.device) -> "Inputs":
        """These, or a copy where the device is another."""
        if self.categorical.device == device:
            return self
        return Inputs(
            categorical=self.categorical.to(device, non_blocking=True),
            numeric=self.numeric.to(device, non_blocking=True),
            sequences=tuple(SequenceInput(s.values.to(device), s.offsets.to(device)) for s in self.sequences),
            lookups={layout: lookup.to(device) for layout, lookup in self.lookups.items()},
            part_of=None if self.part_of is None else (self.part_of[0].to(device), *self.part_of[1:]),
        )


def joined(parts: Sequence[Inputs]) -> Inputs:
    """The rows of several inputs of one schema, one after the other; at least one."""
    if len(parts) == 1:
        return parts[0]
    return Inputs(
        categorical=torch.cat([part.categorical for part in parts]),
        numeric=torch.cat([part.numeric for part in parts]),
        sequences=tuple(_joined_sequences(parts) for parts in zip(*(part.sequences for part in parts), strict=True)),
    )


def _joined_sequences(parts: Sequence[SequenceInput]) -> SequenceInput:
    lengths = torch.cat([part.offsets.diff() for part in parts])
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return SequenceInput(torch.cat([part.values for part in parts]), offsets)
