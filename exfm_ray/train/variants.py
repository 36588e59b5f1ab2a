"""Many variants in one process: those that read the same rows share one pass over them.

    train_variants(experiment, [VariantConfig(vm=vm, method="ah", seed=seed) for vm in vms for seed in range(4)])

A variant gives the numbers that it would give alone, to the last bit.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from exfm_ray.config import VariantConfig
from exfm_ray.data.batches import day_batches, to_batch
from exfm_ray.data.counting import coded
from exfm_ray.data.encode import column
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.traffic import Traffic
from exfm_ray.data.waiting import wait_until_committed
from exfm_ray.schema import truth_column
from exfm_ray.train.evaluation import score
from exfm_ray.train.shared_time import SharedTime
from exfm_ray.train.variant import Variant

CPU = torch.device("cpu")


def train_variants(experiment: Experiment, variants: Sequence[VariantConfig], device: torch.device = CPU) -> None:
    """Train and evaluate variants over all days of an experiment, going on from what is committed.

    The variants need not be those of the recipe, but must read rows that one of its VMs reads, since others are not
    supervised. Their results are in `experiment.outcome_files(variants)`, their snapshots beside all others.

    Args:
        variants: name, method and seed together occur once. All are in memory at once, each with its own tables.

    Raises:
        ValueError: two variants have the same name, method and seed.
        DataError: what a variant reads is not there after the recipe's time, or the run directory holds another
            configuration under the same name, method and seed.
    """
    names = [(variant.vm.name, variant.method, variant.seed) for variant in variants]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"variants repeat name, method and seed: {repeated}; give each VM configuration its own name")
    passes = [SharedPass(experiment, members, device) for members in by_rows(experiment, variants)]
    for day in experiment.supervised_days:
        for shared in passes:
            shared.live_through(day)


def by_rows(experiment: Experiment, variants: Sequence[VariantConfig]) -> list[list[VariantConfig]]:
    """The variants in groups that can share a pass: they read the same columns of the same rows in the same batches."""
    readings: list[tuple[Traffic, int]] = []
    groups: list[list[VariantConfig]] = []
    for variant in variants:
        reading = experiment.vm_traffic(variant.vm), experiment.batch_rows(variant.vm.optimizer.batch_size)
        if reading not in readings:
            readings.append(reading)
            groups.append([])
        groups[readings.index(reading)].append(variant)
    return groups


class SharedPass:
    """Variants that read the same rows: a day is read, encoded and cut into batches once for all of them.

    Args:
        members: of one group of `by_rows`; at least one.
    """

    def __init__(self, experiment: Experiment, members: Sequence[VariantConfig], device: torch.device) -> None:
        self.experiment, self.device = experiment, device
        self.vm = members[0].vm  # which speaks for all of them where rows and batches are meant
        self.truth = truth_column(self.vm.task) if experiment.data_schema.has_truth else None
        self.variants = [Variant(experiment, config, device) for config in members]

    def live_through(self, day: int) -> None:
        """Predict the day, then train on it: whatever of the two a variant has not committed yet."""
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
        time = SharedTime(len(variants))
        predicted = self._predict(variants, day, time)
        for index, (variant, stopwatch) in enumerate(zip(variants, time.stopwatches(), strict=True)):
            values = score(
                predicted[f"variant {index}"],
                predicted["label"],
                variant.base_rate(),
                predicted["fm"],
                predicted.get("truth"),
            )
            variant.write_outcome(day, values, stopwatch.made())

    def _predict(self, variants: Sequence[Variant], day: int, time: SharedTime) -> dict[str, NDArray[np.floating]]:
        """Label, pseudo-label, truth where there is one, and each variant's prediction, of the pass's rows of a day."""
        parts: dict[str, list[NDArray[np.floating]]] = {}
        traffic = variants[0].traffic  # they are trained through the same day, so with the same vocabularies
        for table in traffic.rows(day, self.experiment.supervision(day), [self.truth] if self.truth else []):
            batch = to_batch(table, traffic, supervised=True)
            assert batch.fm_probs is not None
            columns = {"label": batch.labels[:, 0].numpy(), "fm": batch.fm_probs[:, 0].numpy()}
            columns |= {"truth": column(table, self.truth).astype(np.float32)} if self.truth else {}
            batch = batch.to(self.device)
            for index, variant in enumerate(variants):
                with time.spent_on(index):
                    columns[f"variant {index}"] = variant.predict(batch)
            for name, values in columns.items():
                parts.setdefault(name, []).append(values)
        return {name: np.concatenate(values) for name, values in parts.items()}

    def _train(self, variants: Sequence[Variant], day: int) -> None:
        """On the labels that came inside the feedback window, where there is one."""
        supervision, feedback = self.experiment.supervision(day), self.experiment.feedback(day)
        if feedback is not None:
            timeout = self.experiment.recipe.resources.wait_timeout_seconds
            wait_until_committed(feedback, timeout, f"the feedback of day {day}")
        time = SharedTime(len(variants))
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
            batch = batch.to(self.device)
            # one after the other: on a CPU core, variants stacked into wider products were never faster
            for index, variant in enumerate(variants):
                with time.spent_on(index):
                    variant.train(batch)
        for variant, stopwatch in zip(variants, time.stopwatches(), strict=True):
            variant.finish_day(day, rows, positives, stopwatch)
