"""Ordered batches of one day as tensors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from exfm_ray.data.encode import column, encode
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import rebatch
from exfm_ray.data.traffic import CHUNK_ROWS, Traffic
from exfm_ray.models.inputs import Inputs
from exfm_ray.schema import label_column, supervision_column


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

    Args:
        feedback: the side-car of labels to train on; None takes the partition's complete ones.
    """
    for table in rebatch(traffic.rows(day, supervision, feedback=feedback), max(CHUNK_ROWS // size, 1) * size):
        whole = to_batch(table, traffic, supervised=supervision is not None)
        for start in range(0, len(whole), size):
            yield whole.rows(start, min(start + size, len(whole)))


def _matrix(table: pa.Table, columns: Sequence[str]) -> torch.Tensor:
    return torch.from_numpy(np.stack([column(table, name).astype(np.float32) for name in columns], axis=1))
