"""A snapshot that answers: rows in, a probability per task out."""

from dataclasses import dataclass, field

import pyarrow as pa
import torch

from exfm_ray.config import Precision
from exfm_ray.das.snapshot_reader import Snapshot, SnapshotReader
from exfm_ray.data.encode import encode
from exfm_ray.data.run_directory import snapshot_identity
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.data.vocabulary import Vocabularies
from exfm_ray.models.answering import answers
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.model import Model
from exfm_ray.schema import Schema, supervision_column


@dataclass(frozen=True)
class Predictor:
    """A loaded snapshot."""

    snapshot_day: int
    identity: str
    inputs: Schema
    tasks: tuple[str, ...]
    model: Model
    device: torch.device
    vocabularies: Vocabularies = field(default_factory=dict)
    """that it was trained with"""
    precision: Precision = "float32"
    """of the matrix products of an answer"""

    def __post_init__(self) -> None:
        self.model.eval()

    @classmethod
    def load(cls, snapshots: SnapshotDatabase, day: int) -> "Predictor":
        """Load a published snapshot onto the GPU where there is one.

        Raises:
            DataError: it is not published, cannot be understood, or its bytes have changed.
        """
        return cls.of(snapshots, SnapshotReader(snapshots).read(day))

    @classmethod
    def of(cls, snapshots: SnapshotDatabase, snapshot: Snapshot, precision: Precision = "float32") -> "Predictor":
        """Bring one that was read onto the GPU where there is one.

        Args:
            snapshots: where it was read.
            precision: of the matrix products of an answer.
        """
        facts = snapshot.facts
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        identity = snapshot_identity(snapshots.root, facts.trained_through)
        return cls(
            snapshot_day=facts.trained_through,
            identity=identity,
            inputs=facts.inputs,
            tasks=facts.tasks,
            model=snapshot.model.to(device),
            device=device,
            vocabularies=snapshot.vocabularies,
            precision=precision,
        )

    def predict(self, rows: pa.Table) -> pa.Table:
        """`fm_<task>` float32 in [0, 1] per row, in the rows' order.

        Args:
            rows: the snapshot's features as columns; others are ignored.
        """
        return self.answer(self.encoded(rows))

    def encoded(self, rows: pa.Table) -> Inputs:
        """Rows as the model takes them."""
        return encode(rows, self.inputs, self.vocabularies)

    def answer(self, inputs: Inputs) -> pa.Table:
        """`predict` for rows that are encoded already."""
        probabilities = answers(self.model, inputs, self.device, self.precision).cpu().numpy()
        return pa.table({supervision_column(task): probabilities[:, index] for index, task in enumerate(self.tasks)})
