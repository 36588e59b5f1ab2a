"""One variant of a VM: its method and seed, its state, and its line of results."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer

from exfm_ray.config import VariantConfig
from exfm_ray.data.batches import Batch
from exfm_ray.data.commit import Made, Manifest, Stopwatch
from exfm_ray.data.counting import coded
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.run_clock import note_help
from exfm_ray.data.run_directory import Outcome, variant_name
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.data.traffic import Traffic
from exfm_ray.distill.step import train_step
from exfm_ray.distill.student import Student
from exfm_ray.errors import DataError
from exfm_ray.models.answering import answers
from exfm_ray.models.build import build_model
from exfm_ray.models.compiling import compile_layers
from exfm_ray.models.model import Model
from exfm_ray.train.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
from exfm_ray.train.growth import grow
from exfm_ray.train.optimizers import build_adapter_optimizer, build_optimizers
from exfm_ray.train.team import ALONE, Part, Team


class Variant:
    """A student with its optimizers and counts; continues from its last checkpoint when built.

    Where an evaluated day is lacking from before that checkpoint, since somebody has deleted it, it starts over.

    Args:
        team: the workers that train it together; the first of them commits.
    """

    def __init__(self, experiment: Experiment, config: VariantConfig, device: torch.device, team: Team = ALONE) -> None:
        self.experiment, self.config, self.device, self.team = experiment, config, device, team
        self.vm, self.method, self.seed = config.vm, config.method, config.seed
        self.name = variant_name(self.vm.name, self.method, self.seed)
        self.checkpoints = experiment.run.checkpoints(self.name)
        self.snapshots = SnapshotDatabase(experiment.run.snapshots(self.name))
        self.trained: Made | None = None
        checkpoint = latest_checkpoint(self.checkpoints)
        if checkpoint is not None and not self._is_evaluated_through(int(checkpoint.about["day"])):
            checkpoint = None
        first = experiment.recipe.first_vm_day
        self.trained_through = first - 1 if checkpoint is None else int(checkpoint.about["day"])
        self.begin(coded(experiment, experiment.vm_traffic(self.vm), max(self.trained_through, first)))
        if checkpoint is not None:
            self._continue(checkpoint)
        self._check_team()

    def _check_team(self) -> None:
        self.team.check_equal(self.student, self.trained_through, self.rows, self.positives)

    def begin(self, traffic: Traffic) -> None:
        """A student that has seen no row, as it starts from the seed.

        Args:
            traffic: that it will be trained on, with the vocabularies of that day.
        """
        self.traffic = traffic
        self.student = Student(self.vm, self.vm.distill, self.method, traffic.schema, self.seed).to(self.device)
        if self.vm.optimizer.compile:
            compile_layers(self.student)
        self.optimizers = build_optimizers(
            self.vm.optimizer, self.student.dense_groups(), self.student.table_parameters()
        )
        self.adapter_optimizer: Optimizer | None = None
        if self.student.adapter is not None:
            self.adapter_optimizer = build_adapter_optimizer(self.vm.distill.adapter, self.student.adapter_parameters())
        self.rows = self.positives = 0

    def grow(self, traffic: Traffic, day: int) -> None:
        """Go on with the vocabularies of another day; nothing happens where they are the same."""
        if traffic.schema != self.traffic.schema:

            def build() -> Model:
                return build_model(self.vm.model, traffic.schema, tasks=1)

            grow(self.student.model, self.optimizers["tables"], build, self.seed, "model", f"day {day}")
        self.traffic = traffic

    def _continue(self, checkpoint: Manifest) -> None:
        own = self.config.model_dump(mode="json")
        if (other := checkpoint.about.get("variant", own)) != own:
            raise DataError(f"{self.checkpoints} is the state of another configuration: {other} instead of {own}")
        load_checkpoint(self.checkpoints, checkpoint, self.student, self.all_optimizers())
        self.rows, self.positives = int(checkpoint.about["rows"]), int(checkpoint.about["positives"])
        self.trained = checkpoint.made
        if self.team.is_first:
            self._publish(0, Stopwatch.start())

    def all_optimizers(self) -> dict[str, Optimizer]:
        """By what they train: `dense`, `tables`, `adapter` where there is one."""
        return self.optimizers | ({"adapter": self.adapter_optimizer} if self.adapter_optimizer is not None else {})

    @property
    def bytes(self) -> int:
        """Of the parameters and the optimizers' states."""
        states = [state for one in self.all_optimizers().values() for state in one.state.values()]
        tensors = [*self.student.parameters(), *(value for state in states for value in state.values())]
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))

    def train(self, part: Part) -> None:
        """One step of Algorithm 1.

        Args:
            part: of a batch, on the student's device.
        """
        batch = part.batch
        fm_prob = None if batch.fm_probs is None or self.method == "none" else batch.fm_probs[:, 0]
        optimizers = list(self.optimizers.values())
        if not self.student.training:  # the walk over all modules is a hundredth of a small model's step
            self.student.train()
        label, precision = batch.labels[:, 0], self.vm.optimizer.precision
        complete = partial(self.team.sum_gradients, share=part.share)
        train_step(self.student, batch.inputs, label, fm_prob, optimizers, self.adapter_optimizer, precision, complete)

    def finish_day(self, day: int, rows: int, positives: int, stopwatch: Stopwatch) -> None:
        """Commit the state after a day of training, and publish what would be served from now on.

        Args:
            rows, positives: of the day's training rows.
        """
        self.trained_through, self.rows, self.positives = day, self.rows + rows, self.positives + positives
        self._check_team()
        if not self.team.is_first:
            self.trained = note_help(self.experiment.run, "vm_training", self.name, day, self.team.worker, stopwatch)
            return
        about = {"rows": self.rows, "positives": self.positives, "variant": self.config.model_dump(mode="json")}
        state = self.all_optimizers()
        self.trained = save_checkpoint(self.checkpoints, day, self.student, state, about, stopwatch).made
        self._publish(rows, stopwatch)

    def _publish(self, rows: int, stopwatch: Stopwatch) -> None:
        facts = SnapshotFacts(
            model=self.vm.model,
            inputs=self.traffic.schema,
            tasks=(self.vm.task,),
            trained_through=self.trained_through,
            rows_seen=self.rows,
            parameters=self.student.model.parameter_count(),
        )
        self.snapshots.publish(self.student.model, facts, rows, stopwatch, self.traffic.vocabularies)

    def predict(self, batch: Batch) -> NDArray[np.float32]:
        """Served probabilities (B,) of a batch's rows."""
        self.student.eval()
        probability: NDArray[np.float32] = answers(self.student.model, batch.inputs, self.device)[:, 0].cpu().numpy()
        return probability

    def base_rate(self) -> float | None:
        """Positives ÷ rows of all that the student was trained on."""
        return self.positives / self.rows if self.rows else None

    def is_evaluated(self, day: int) -> bool:
        return self.experiment.run.outcome_file(self.vm.name, self.method, self.seed, day).is_file()

    def _is_evaluated_through(self, day: int) -> bool:
        return all(self.is_evaluated(each) for each in self.experiment.supervised_days[1:] if each <= day)

    def note_evaluation(self, day: int, stopwatch: Stopwatch) -> None:
        """That this worker has predicted its part of a day."""
        note_help(self.experiment.run, "vm_evaluation", self.name, day, self.team.worker, stopwatch)

    def write_outcome(self, eval_day: int, values: dict[str, Any], evaluated: Made) -> None:
        """Put the evaluated day's line where the run collects it; who trained for it is told by its snapshot.

        Args:
            values: rows, positives and metrics.
            evaluated: who predicted the day, and how long that took.
        """
        recipe = self.experiment.recipe
        supervisor = self.experiment.supervising_snapshot(self.trained_through)
        line = {
            "vm": self.vm.name,
            "domain": self.vm.domain,
            "stage": self.vm.stage,
            "task": self.vm.task,
            "model": self.vm.model.type,
            "fm": recipe.fm.name,
            "method": self.method,
            "seed": self.seed,
            "train_day": self.trained_through,
            "eval_day": eval_day,
            **values,
            "fm_snapshot": None if self.method == "none" else self.experiment.snapshot_identity(supervisor),
            "staleness_days": recipe.fm.staleness_days,
        }
        place = self.experiment.run.outcome_file(self.vm.name, self.method, self.seed, eval_day)
        place.write_first(Outcome(line=line, made=evaluated).model_dump_json(indent=1).encode())
