"""All variants (method × seed) of one VM: one pass over its rows serves them all."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from exfm_ray.config import VerticalModelConfig
from exfm_ray.data.batches import day_batches, to_batch
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.counting import coded
from exfm_ray.data.encode import column
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.waiting import wait_until_committed
from exfm_ray.schema import truth_column
from exfm_ray.train.evaluation import score
from exfm_ray.train.variant import Variant


class VariantGroup:
    """The variants of a VM in one process; each gives the numbers that it would give alone."""

    def __init__(self, experiment: Experiment, vm: VerticalModelConfig, device: torch.device) -> None:
        recipe = experiment.recipe
        self.experiment, self.vm = experiment, vm
        self.truth = truth_column(vm.task) if experiment.data_schema.has_truth else None
        self.variants = [
            Variant(experiment, vm, method, seed, device) for method in recipe.methods_of(vm) for seed in recipe.seeds
        ]

    def live_through(self, day: int) -> None:
        """Predict the day, then train on it: whatever of the two is not committed yet."""
        timeout = self.experiment.recipe.resources.wait_timeout_seconds
        wait_until_committed(self.experiment.supervision(day), timeout, f"the supervision of day {day}")
        untested = [v for v in self.variants if v.trained is not None and v.trained_through == day - 1]
        untested = [variant for variant in untested if not variant.is_evaluated(day)]
        if untested:
            self._evaluate(untested, day)
        untrained = [variant for variant in self.variants if variant.trained_through < day]
        if untrained and day in self.experiment.vm_days:
            self._train(untrained, day)

    def _evaluate(self, variants: Sequence[Variant], day: int) -> None:
        stopwatch = Stopwatch.start(len(variants))
        predicted = self._predict(variants, day)
        for index, variant in enumerate(variants):
            values = score(
                predicted[f"variant {index}"],
                predicted["label"],
                variant.base_rate(),
                predicted["fm"],
                predicted.get("truth"),
            )
            variant.write_outcome(day, values, stopwatch.made())

    def _predict(self, variants: Sequence[Variant], day: int) -> dict[str, NDArray[np.floating]]:
        """Label, pseudo-label, truth where there is one, and each variant's prediction, of the VM's rows of a day."""
        parts: dict[str, list[NDArray[np.floating]]] = {}
        traffic = variants[0].traffic  # they are trained through the same day, so with the same vocabularies
        for table in traffic.rows(day, self.experiment.supervision(day), [self.truth] if self.truth else []):
            batch = to_batch(table, traffic, supervised=True)
            assert batch.fm_probs is not None
            columns = {"label": batch.labels[:, 0].numpy(), "fm": batch.fm_probs[:, 0].numpy()}
            columns |= {f"variant {index}": variant.predict(batch) for index, variant in enumerate(variants)}
            columns |= {"truth": column(table, self.truth).astype(np.float32)} if self.truth else {}
            for name, values in columns.items():
                parts.setdefault(name, []).append(values)
        return {name: np.concatenate(values) for name, values in parts.items()}

    def _train(self, variants: Sequence[Variant], day: int) -> None:
        """On the labels that came inside the feedback window, where there is one."""
        supervision, feedback = self.experiment.supervision(day), self.experiment.feedback(day)
        if feedback is not None:
            timeout = self.experiment.recipe.resources.wait_timeout_seconds
            wait_until_committed(feedback, timeout, f"the feedback of day {day}")
        stopwatch = Stopwatch.start(len(variants))
        traffic = coded(self.experiment, self.experiment.vm_traffic(self.vm), day)
        for variant in variants:
            if self.experiment.recipe.evaluate.protocol == "windows":
                variant.begin(traffic)
            else:
                variant.grow(traffic, day)
        rows = positives = 0
        batch_rows = self.experiment.batch_rows(self.vm.optimizer.batch_size)
        for batch in day_batches(traffic, day, batch_rows, supervision, feedback):
            rows += len(batch)
            positives += int(batch.labels[:, 0].sum())
            for variant in variants:
                variant.train(batch)
        for variant in variants:
            variant.finish_day(day, rows, positives, stopwatch)
