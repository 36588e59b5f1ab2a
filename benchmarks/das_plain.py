"""Their side of the DAS benchmark: a PyArrow and torch loop in one process, as one would write it for this one job.

A helper of benchmarks/das.py, which starts it and tells it on its standard input when a round begins.
"""

import json
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from das_data import PLAIN_ROWS, SNAPSHOT_DAY

from exfm_ray.data.experiment import Experiment
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.model import Model

BATCH_ROWS = 4_096
"""of 512 to 16,384 about the fastest: what larger batches hold between layers is mapped and cleared anew each time"""


class PlainLoop:
    """The FM and the names of its inputs."""

    def __init__(self, model: Model, categorical: list[str], numeric: list[str], sequences: list[str]) -> None:
        self.model = model.eval()
        self.categorical, self.numeric, self.sequences = categorical, numeric, sequences

    @torch.no_grad()
    def run(self, source: Path, target: Path) -> None:
        """Supervise every file of a day into a file of the same name."""
        schema = pa.schema([("event_id", pa.int64()), ("fm_click", pa.float32())])
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.glob("*.parquet")):
            with pq.ParquetWriter(target / path.name, schema, compression="zstd") as writer:
                for batch in self._read(path):
                    probabilities = torch.sigmoid(self.model(self._encode(batch)))[:, 0].numpy()
                    writer.write_table(pa.table([batch["event_id"], probabilities], schema=schema))

    def _read(self, path: Path) -> Iterator[pa.RecordBatch]:
        columns = ["event_id", *self.categorical, *self.numeric, *self.sequences]
        return iter(pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=columns))

    def _encode(self, batch: pa.RecordBatch) -> Inputs:
        categorical = np.stack([batch[name].to_numpy() for name in self.categorical], axis=1)
        numeric = np.empty((batch.num_rows, len(self.numeric)), np.float32)
        for index, name in enumerate(self.numeric):
            numeric[:, index] = batch[name].to_numpy()
        return Inputs(
            torch.from_numpy(categorical),
            torch.from_numpy(numeric),
            tuple(self._history(batch[name]) for name in self.sequences),
        )

    @staticmethod
    def _history(lists: pa.ListArray) -> SequenceInput:
        offsets = lists.offsets.to_numpy().astype(np.int64)
        return SequenceInput(torch.from_numpy(lists.flatten().to_numpy()), torch.from_numpy(offsets - offsets[0]))


def main(settings: str, target: str) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    experiment = Experiment.model_validate_json(settings)
    model, facts = SnapshotDatabase(experiment.snapshots).load(SNAPSHOT_DAY)
    names = [[f.name for f in facts.inputs.of_kind(kind)] for kind in ("categorical", "numeric", "sequence")]
    loop = PlainLoop(model, *names)
    source = Path(experiment.dataset).parent / PLAIN_ROWS
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        loop.run(source, Path(target))
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
