"""Our side of benchmarks/train.py: a student of method `none` or another trains on a day, or an FM predicts it.

A helper of benchmarks/train.py, which starts it and tells it on its standard input what to do.
"""

import sys
from collections.abc import Iterator

import pyarrow as pa
import torch
from pydantic import BaseModel
from torch.optim import Optimizer
from train_answers import Stages, answer
from train_data import MEASURED_DAY, WARM_DAY, supervision_of

from exfm_ray.computing import begin_computing
from exfm_ray.config import ModelConfig, OptimizerConfig, VerticalModelConfig
from exfm_ray.das.predictor import Predictor
from exfm_ray.data.batches import Batch, day_batches
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_schema
from exfm_ray.data.traffic import Traffic
from exfm_ray.distill.losses import student_loss
from exfm_ray.distill.step import train_step
from exfm_ray.distill.student import Student
from exfm_ray.models.compiling import compile_layers
from exfm_ray.models.precision import computed_in
from exfm_ray.schema import Method
from exfm_ray.train.optimizers import build_adapter_optimizer, build_optimizers

TASK = "click"
CPU = torch.device("cpu")


class OursSettings(BaseModel):
    """What this side is told when it starts."""

    place: str
    """of the day partitions"""
    model: ModelConfig
    optimizer: OptimizerConfig
    method: Method = "none"
    variants: int = 1
    """that are trained on each batch, each from a seed of its own"""


class Trained:
    """A student with what trains it."""

    def __init__(self, student: Student, vm: VerticalModelConfig) -> None:
        self.student = student
        tables = student.table_parameters()
        self.optimizers = list(build_optimizers(vm.optimizer, student.dense_parameters(), tables).values())
        self.adapter_optimizer: Optimizer | None = None
        self.precision = vm.optimizer.precision
        if vm.optimizer.compile:
            compile_layers(student)
        if student.adapter is not None:
            self.adapter_optimizer = build_adapter_optimizer(vm.distill.adapter, student.adapter_parameters())

    def step(self, batch: Batch) -> None:
        self.student.train()
        fm_prob = None if batch.fm_probs is None else batch.fm_probs[:, 0]
        label, adapter_optimizer = batch.labels[:, 0], self.adapter_optimizer
        train_step(self.student, batch.inputs, label, fm_prob, self.optimizers, adapter_optimizer, self.precision)


class Trainer:
    """Students and their optimizers, as a fleet worker has them."""

    def __init__(self, settings: OursSettings) -> None:
        self.dataset = Location(settings.place)
        schema = read_schema(self.dataset)
        self.traffic = Traffic(self.dataset, schema, (TASK,))
        vm = VerticalModelConfig(name="vm", task=TASK, model=settings.model, optimizer=settings.optimizer)
        self.batch_rows, self.precision = vm.optimizer.batch_size, vm.optimizer.precision
        self.trained = [
            Trained(Student(vm, vm.distill, settings.method, schema, seed), vm) for seed in range(settings.variants)
        ]
        self.student, self.optimizers = self.trained[0].student, self.trained[0].optimizers

    def train(self, day: int) -> int:
        """One pass over the day; its rows."""
        rows = 0
        for batch in self._batches(day):
            rows += len(batch)
            for one in self.trained:
                one.step(batch)
        return rows

    def stages(self) -> dict[str, float]:
        """CPU seconds per step of method `none`, by stage."""
        self.student.train()
        stages, steps, batches = Stages(), 0, self._batches(WARM_DAY)
        for batch in batches:
            stages.end("read")
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            with computed_in(self.precision, CPU):
                loss = student_loss(self.student, batch.inputs, batch.labels[:, 0], None)
            stages.end("forward")
            loss.backward()
            stages.end("backward")
            for optimizer in self.optimizers:
                optimizer.step()
            stages.end("optimizer")
            steps += 1
        return stages.per_step(steps)

    def predict(self, day: int) -> int:
        """Supervise the day, as a replica of the FM does with the requests of a Ray Data task; its rows."""
        schema = self.traffic.schema
        predictor = Predictor(0, "fm", schema, (TASK,), self.student.model, CPU, precision=self.precision)
        answers: list[pa.Table] = [predictor.predict(table) for table in self.traffic.rows(day)]
        return sum(table.num_rows for table in answers)

    def _batches(self, day: int) -> Iterator[Batch]:
        supervision = None if self.student.method == "none" else supervision_of(self.dataset, day)
        return day_batches(self.traffic, day, self.batch_rows, supervision)


def main(settings: str) -> None:
    begin_computing()
    trainer = Trainer(OursSettings.model_validate_json(settings))
    tasks = {
        "warm": lambda: trainer.train(WARM_DAY),
        "round": lambda: trainer.train(MEASURED_DAY),
        "warm predict": lambda: trainer.predict(WARM_DAY),
        "predict": lambda: trainer.predict(MEASURED_DAY),
        "stages": trainer.stages,
    }
    answer(trainer.student.model.parameter_count(), [], tasks)


if __name__ == "__main__":
    main(*sys.argv[1:])
