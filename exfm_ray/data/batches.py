"""Ordered batches of one day as tensors."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch

from exfm_ray.data.ahead import made_ahead
from exfm_ray.data.encode import column, encode
from exfm_ray.data.location import Location
from exfm_ray.data.traffic import Traffic
from exfm_ray.models.inputs import Inputs, joined
from exfm_ray.schema import label_column, supervision_column

CHUNK_ROWS = 8_192
"""read and encoded at once: with histories some 10 MB; two such pieces are there at a time"""

ALIGNMENT = 64
"""bytes, of torch's own memory"""


@dataclass(frozen=True)
class Batch:
    """B rows to train on."""

    inputs: Inputs
    labels: torch.Tensor
    """(B, tasks) float32, 0 or 1; NaN where a label came too late and is left out"""
    fm_probs: torch.Tensor | None
    """(B, tasks) float32 in [0, 1]; None without supervision"""

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> "Batch":
        fm_probs = None if self.fm_probs is None else self.fm_probs.to(device)
        return Batch(self.inputs.to(device), self.labels.to(device), fm_probs)

    def rows(self, start: int, stop: int) -> "Batch":
        fm_probs = None if self.fm_probs is None else self.fm_probs[start:stop]
        return Batch(self.inputs.rows(start, stop), self.labels[start:stop], fm_probs)

    def part(self, start: int, stop: int) -> "Batch":
        """As `rows`, for one of several processes that train on the batch together (`Inputs.part`)."""
        rows = self.rows(start, stop)
        return _aligned(Batch(self.inputs.part(start, stop), rows.labels, rows.fm_probs))


def to_batch(table: pa.Table, traffic: Traffic, *, supervised: bool) -> Batch:
    """A table's rows as tensors."""
    labels = _matrix(table, [label_column(task) for task in traffic.tasks])
    fm_probs = _matrix(table, [supervision_column(task) for task in traffic.tasks]) if supervised else None
    return Batch(encode(table, traffic.schema, traffic.vocabularies), labels, fm_probs)


def day_batches(
    traffic: Traffic,
    day: int,
    size: int,
    supervision: Location | None = None,
    feedback: Location | None = None,
) -> Iterator[Batch]:
    """Batches of exactly `size` rows in event-time order, but for the day's last one.

    What is next is read and encoded in the background while a batch is worked on.

    Args:
        feedback: the side-car of labels to train on; None takes the partition's complete ones.
    """
    tables = traffic.rows(day, supervision, feedback=feedback, chunk_rows=CHUNK_ROWS)
    return resized(made_ahead(_pieces(tables, traffic, supervised=supervision is not None)), size)


def _pieces(tables: Iterator[pa.Table], traffic: Traffic, *, supervised: bool) -> Iterator[Batch]:
    """The tables' rows as they lie in memory, so that lists of one piece need not be copied together."""
    for table in tables:
        for piece in table.to_batches():
            yield to_batch(pa.table(piece), traffic, supervised=supervised)


def resized(pieces: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The same rows in the same order in batches of exactly `size`, but for the last one.

    Only a batch that begins in one piece and ends in another is copied; of others, numbers that must be aligned.
    """
    held: list[Batch] = []
    lacking = size
    for piece in pieces:
        start = 0
        while len(piece) - start >= lacking:
            yield joined_batches([*held, piece.rows(start, start + lacking)])
            start, held, lacking = start + lacking, [], size
        if start < len(piece):
            held.append(piece.rows(start, len(piece)))
            lacking -= len(piece) - start
    if held:
        yield joined_batches(held)


def joined_batches(parts: Sequence[Batch]) -> Batch:
    """The rows of several batches of one kind, one after the other; at least one. Its numbers are aligned."""
    if len(parts) == 1:
        return _aligned(parts[0])
    fm_probs = [part.fm_probs for part in parts if part.fm_probs is not None]
    return Batch(
        inputs=joined([part.inputs for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        fm_probs=torch.cat(fm_probs) if fm_probs else None,
    )


def _aligned(batch: Batch) -> Batch:
    """The same rows, their numbers at multiples of 64 bytes: matrix products may round by where their factors lie, and
    where a batch lies in its piece depends on how the day is read."""
    numeric, labels, fm_probs = (
        values if values is None or values.data_ptr() % ALIGNMENT == 0 else values.clone()
        for values in (batch.inputs.numeric, batch.labels, batch.fm_probs)
    )
    assert numeric is not None
    assert labels is not None
    return Batch(replace(batch.inputs, numeric=numeric), labels, fm_probs)


def _matrix(table: pa.Table, columns: Sequence[str]) -> torch.Tensor:
    return torch.from_numpy(np.stack([column(table, name).astype(np.float32) for name in columns], axis=1))
