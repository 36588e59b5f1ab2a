"""The embedding step on a GPU: samples per second, and the share of the memory's bandwidth that it achieves.

    python benchmarks/gpu.py [--quick] [--json FILE] [--device cuda] [--models NAME …] [--fbgemm]

The step reads a batch of the TaobaoAd setting from the tables, takes a gradient of the same shape back, and updates the
touched rows; its bandwidth is the bytes that it cannot avoid ÷ its time, beside that of a copy in the device's memory.
Whole training steps of the models follow. `--fbgemm` compares the step with FBGEMM's tables, which `make bench-env`
installs; a GPU needs FBGEMM's build for it. `--device cpu` runs the same code where there is no GPU.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from machine import describe_machine
from taobao_shape import full_histories, schema_of, synthetic_rows
from torch.nn import functional
from train_settings import DIM, MODELS
from train_table import print_rows

from exfm_ray.config import OptimizerConfig, VerticalModelConfig
from exfm_ray.data.encode import encode
from exfm_ray.distill.step import train_step
from exfm_ray.distill.student import Student
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.lookup import Lookup
from exfm_ray.train.optimizers import build_optimizers
from exfm_ray.train.table_optimizers import EPSILON_ADAGRAD, RowwiseAdagrad

BATCH_ROWS = 8_192
COPIED_BYTES = 2**30
STEPS, QUICK_STEPS = 50, 5
NUMBER_BYTES = 4
RATE = 0.05
LARGEST_DIFFERENCE = 1e-6
"""between tables that two libraries have updated: some rounding of numbers about 0.1"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few steps")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--fbgemm", action="store_true", help="also beside FBGEMM's tables")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=["FaM", "DeepFaM", "DCN", "DCNv2", "FmFaM"])
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; --device cpu runs the same code without one")
    steps = QUICK_STEPS if options.quick else STEPS
    batch = _batch()
    rows = [_embedding_row(batch, device, steps)]
    rows += [_fbgemm_row(batch, device, steps)] if options.fbgemm else []
    rows += [_model_row(name, batch, device, steps) for name in options.models]
    print_rows(rows)
    if options.json:
        machine = describe_machine("torch") | {"device": _name(device)}
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def _batch() -> Inputs:
    table: pa.Table = synthetic_rows(schema_of("seq"), 0, BATCH_ROWS, full_histories)
    return encode(table, schema_of("seq"))


def _embedding_row(batch: Inputs, device: torch.device, steps: int) -> dict[str, Any]:
    """Bytes per second of the step, beside a copy's."""
    embedding = Embedding(schema_of("seq"), DIM).to(device)
    optimizer = RowwiseAdagrad([embedding.table], RATE)
    inputs = _looked_up(batch, embedding).to(device)
    gradient = torch.randn(len(batch), embedding.fields, DIM, device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        embedding(inputs).backward(gradient)  # type: ignore[no-untyped-call]
        optimizer.step()

    seconds = _seconds(step, device, steps)
    achieved = needed_bytes(Lookup.of(inputs, embedding.layout), len(batch), embedding.fields) / seconds / 1e9
    source = torch.empty(COPIED_BYTES // NUMBER_BYTES, device=device)
    target = torch.empty_like(source)
    copied = 2 * COPIED_BYTES / _seconds(lambda: target.copy_(source), device, steps) / 1e9
    return {
        "what": f"bandwidth of the embedding step beside a copy's, {len(batch) / seconds:,.0f} samples per second",
        "ours": round(achieved, 1),
        "theirs": round(copied, 1),
        "unit": "GB/s",
        "ratio": round(achieved / copied, 3),
    }


def _fbgemm_row(batch: Inputs, device: torch.device, steps: int) -> dict[str, Any]:
    """The whole step from ids on, beside FBGEMM's exact row-wise Adagrad, which updates rows on its way back.

    Raises:
        AssertionError: the two tables differ by more than rounding after three steps.
    """
    embedding = Embedding(schema_of("seq"), DIM).to(device)
    embedding.table.data.normal_(std=0.1)
    optimizer = RowwiseAdagrad([embedding.table], RATE)
    theirs = FbgemmTable(embedding, batch)
    inputs = batch.to(device)
    gradient = torch.randn(len(batch), embedding.fields, DIM, device=device)

    def our_step() -> None:
        inputs.lookups.clear()
        optimizer.zero_grad(set_to_none=True)
        embedding(inputs).backward(gradient)  # type: ignore[no-untyped-call]
        optimizer.step()

    for _ in range(3):
        our_step()
        theirs.step(gradient)
    torch.testing.assert_close(theirs.table, embedding.table.data, rtol=1e-5, atol=LARGEST_DIFFERENCE)
    ours, other = _seconds(our_step, device, steps), _seconds(lambda: theirs.step(gradient), device, steps)
    return {
        "what": "samples per second of the embedding step, ids looked up in it, beside FBGEMM's tables",
        "ours": round(len(batch) / ours),
        "theirs": round(len(batch) / other),
        "unit": "rows/s",
        "ratio": round(other / ours, 2),
    }


class FbgemmTable:
    """FBGEMM's table with the rows of an embedding, and a batch as it reads one: a bag for each field of each row."""

    def __init__(self, embedding: Embedding, batch: Inputs) -> None:
        from fbgemm_gpu.split_embedding_configs import EmbOptimType, SparseType
        from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
        from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
            ComputeDevice,
            SplitTableBatchedEmbeddingBagsCodegen,
        )

        table, device = embedding.table, embedding.table.device
        on_gpu = device.type == "cuda"
        place = EmbeddingLocation.DEVICE if on_gpu else EmbeddingLocation.HOST
        self._kernel = SplitTableBatchedEmbeddingBagsCodegen(
            [(len(table), table.shape[1], place, ComputeDevice.CUDA if on_gpu else ComputeDevice.CPU)],
            optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
            learning_rate=RATE,
            eps=EPSILON_ADAGRAD,
            pooling_mode=PoolingMode.SUM,
            output_dtype=SparseType.FP32,
            device=device,
        )
        self.table: torch.Tensor = self._kernel.split_embedding_weights()[0]
        self.table.copy_(table.data)
        starts = torch.tensor(embedding.layout.categorical)
        histories = list(zip(batch.sequences, embedding.layout.sequences, strict=True))
        ids = [(batch.categorical + starts).flatten(), *(history.values + start for history, start in histories)]
        lengths = [torch.ones_like(ids[0]), *(history.offsets.diff() for history, _ in histories)]
        shares = [(1 / length.clamp(min=1)).float().repeat_interleave(length) for length in lengths]
        self._ids, self._shares = torch.cat(ids).to(device), torch.cat(shares).to(device)
        self._offsets = functional.pad(torch.cat(lengths).cumsum(0), (1, 0)).to(device)
        self._rows, self._categorical = len(batch), batch.categorical.shape[1]
        self._pooled = embedding.fields - len(histories)

    def step(self, gradient: torch.Tensor) -> None:
        """Read the batch, and take a gradient of its fields, (B, F, D), back."""
        read = self._kernel(self._ids, self._offsets, per_sample_weights=self._shares)
        of_histories = gradient[:, self._pooled :].transpose(0, 1).flatten(0, 1)
        read.backward(torch.cat([gradient[:, : self._categorical].flatten(0, 1), of_histories]))


def needed_bytes(lookup: Lookup, rows: int, fields: int) -> int:
    """That a step cannot avoid: touched rows are read, and read and written by the update, and so is what they become.

    Ids are read twice, on the way there and back; that a row is read for each id is a cache's work and not counted.
    """
    touched = len(lookup.rows) * (3 * DIM + 2) * NUMBER_BYTES
    fields_there_and_back = 2 * rows * fields * DIM * NUMBER_BYTES
    ids = lookup.categorical.numel() + sum(len(bags.places) for bags in lookup.sequences)
    return touched + fields_there_and_back + 2 * ids * lookup.categorical.element_size()


def _model_row(name: str, batch: Inputs, device: torch.device, steps: int) -> dict[str, Any]:
    """Training steps per second on one batch that is there already, beside the same on the CPU in one thread."""
    label = torch.from_numpy(np.random.default_rng(0).random(len(batch)) < 0.05).float()

    def seconds_on(place: torch.device, count: int) -> float:
        optimizer = OptimizerConfig(batch_size=BATCH_ROWS)
        vm = VerticalModelConfig(name="vm", model=MODELS[name], optimizer=optimizer)
        student = Student(vm, vm.distill, "none", schema_of("seq"), seed=0).to(place)
        tables = student.table_parameters()
        optimizers = list(build_optimizers(optimizer, student.dense_parameters(), tables).values())
        inputs, target = batch, label.to(place)
        for module in student.modules():
            if isinstance(module, Embedding):
                inputs = _looked_up(inputs, module)
        inputs = inputs.to(place)
        return _seconds(lambda: train_step(student, inputs, target, None, optimizers, None), place, count)

    ours, theirs = seconds_on(device, steps), seconds_on(torch.device("cpu"), QUICK_STEPS)
    return {
        "what": f"training samples per second, {name}, beside one CPU thread",
        "ours": round(len(batch) / ours),
        "theirs": round(len(batch) / theirs),
        "unit": "rows/s",
        "ratio": round(theirs / ours, 2),
    }


def _looked_up(batch: Inputs, embedding: Embedding) -> Inputs:
    """The batch with its touched rows found, as the input path leaves it."""
    numeric = 0 if embedding.numeric is None else len(embedding.numeric)
    lookup = Lookup.of(batch, embedding.layout)
    lookup.sums_over_fields(numeric, tuple(range(len(batch.sequences))))
    return batch


def _seconds(step: Callable[[], object], device: torch.device, steps: int) -> float:
    """Median time of a step, after two that do not count."""
    taken = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[2:])


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
