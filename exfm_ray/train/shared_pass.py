"""Variants that read the same rows share one pass over them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from exfm_ray.config import VariantConfig
from exfm_ray.data.batches import day_batches, to_batch
from exfm_ray.data.counting import coded
from exfm_ray.data.encode import column
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.waiting import wait_until_committed
from exfm_ray.schema import truth_column
from exfm_ray.train.evaluation import score
from exfm_ray.train.shared_time import SharedTime
from exfm_ray.train.stack import Stack, stacks_of
from exfm_ray.train.team import ALONE, Team
from exfm_ray.train.variant import Variant


class SharedPass:
    """A day is read, encoded and cut into batches once for all variants, which go on from what they have committed.

    Args:
        members: that read the same rows in batches of one size; at least one.
        team: the workers that train each of them together.
    """

    def __init__(
        self, experiment: Experiment, members: Sequence[VariantConfig], device: torch.device, team: Team = ALONE
    ) -> None:
        self.experiment, self.device, self.team = experiment, device, team
        self.vm = members[0].vm  # which speaks for all of them where rows and batches are meant
        self.truth = truth_column(self.vm.task) if experiment.data_schema.has_truth else None
        self.variants = [Variant(experiment, config, device, team) for config in members]

    @property
    def bytes(self) -> int:
        """Of the variants' parameters and their optimizers' states."""
        return sum(variant.bytes for variant in self.variants)

    def is_ready_for(self, day: int) -> bool:
        """Whether the days before are in every variant; they are not where another process trained them."""
        return all(variant.trained_through >= day - 1 for variant in self.variants)

    def keep(self, wanted: Callable[[VariantConfig], bool]) -> None:
        """Go on with some of the variants."""
        self.variants = [variant for variant in self.variants if wanted(variant.config)]

    def live_through(self, day: int) -> None:
        """Predict the day, then train on it: whatever of the two a variant has not committed yet."""
        self.evaluate(day)
        self.train(day)

    def evaluate(self, day: int) -> None:
        """Predict the day, for those variants that are trained through the one before and have not predicted it yet."""
        untested = [v for v in self.variants if v.trained is not None and v.trained_through == day - 1]
        lacking = self.team.agreed([not variant.is_evaluated(day) for variant in untested])
        untested = [variant for variant, lacks in zip(untested, lacking, strict=True) if lacks]
        if untested:
            self._wait_for_supervision(day)
            self._evaluate(untested, day)

    def train(self, day: int) -> None:
        """Train on the day, for those variants that are not trained through it; nothing happens on an evaluated one."""
        untrained = [variant for variant in self.variants if variant.trained_through < day]
        if untrained and day in self.experiment.vm_days:
            self._wait_for_supervision(day)
            self._train(untrained, day)

    def _wait_for_supervision(self, day: int) -> None:
        timeout = self.experiment.recipe.resources.wait_timeout_seconds
        wait_until_committed(self.experiment.supervision(day), timeout, f"the supervision of day {day}")

    def _evaluate(self, variants: Sequence[Variant], day: int) -> None:
        time = SharedTime(len(variants))
        predicted = self._predict(variants, day, time)
        for index, (variant, stopwatch) in enumerate(zip(variants, time.stopwatches(), strict=True)):
            if not self.team.is_first:
                variant.note_evaluation(day, stopwatch)
                continue
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
            part = self.team.part(batch.to(self.device))
            for index, variant in enumerate(variants):
                predicted = np.zeros(len(batch), dtype=np.float32)
                with time.spent_on(index):
                    predicted[part.start : part.stop] = variant.predict(part.batch) if part.share else 0
                columns[f"variant {index}"] = predicted
            for name, values in columns.items():
                parts.setdefault(name, []).append(values)
        whole = {name: np.concatenate(values) for name, values in parts.items()}
        for index in range(len(variants)):
            whole[f"variant {index}"] = self.team.summed(whole[f"variant {index}"])
        return whole

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
        alone, together = stacks_of(variants)
        stacks = [(places, Stack([variants[place] for place in places])) for places in together]
        rows = positives = 0
        batch_rows = self.experiment.batch_rows(self.vm.optimizer.batch_size)
        for batch in day_batches(traffic, day, batch_rows, supervision, feedback):
            rows += len(batch)
            positives += int(batch.labels[:, 0].sum())
            part = self.team.part(batch.to(self.device))
            # one after the other: on a CPU core, variants stacked into wider products were never faster
            for index in alone:
                with time.spent_on(index):
                    variants[index].train(part)
            for places, stack in stacks:
                with time.spent_on(*places):
                    stack.train(part)
        for _, stack in stacks:
            stack.put_back()
        for variant, stopwatch in zip(variants, time.stopwatches(), strict=True):
            variant.finish_day(day, rows, positives, stopwatch)
        self.team.meet()  # whoever reads a checkpoint next must find it
