"""The FM's whole stream: one pass over all domains, stages and tasks, a snapshot published after every day."""

import time
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from torch.optim import Optimizer

from exfm_ray.config import FoundationModelConfig, Precision
from exfm_ray.data.batches import Batch, day_batches
from exfm_ray.data.commit import Stopwatch, committed
from exfm_ray.data.counting import coded
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_clock import note_help
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts
from exfm_ray.data.traffic import Traffic
from exfm_ray.data.waiting import wait_until_committed
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.compiling import compile_layers
from exfm_ray.models.model import Model
from exfm_ray.models.precision import computed_in, multiplied_in
from exfm_ray.train.checkpoints import latest_state, put_state, save_checkpoint
from exfm_ray.train.growth import grow
from exfm_ray.train.optimizers import build_optimizers
from exfm_ray.train.process import training_device
from exfm_ray.train.team import ALONE, Team


def multi_task_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    known: torch.Tensor | None = None,
    counts: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sum over tasks of the mean binary cross-entropy over the rows that have the task's label. All: (B, tasks).

    Args:
        known: where there is a label; None says everywhere.
        counts: (tasks,) how many labels the batch has of which these rows are a part; None: these rows are all of it.
    """
    if known is None:
        return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=0).sum()
    losses = functional.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
    counts = known.sum(dim=0) if counts is None else counts
    return ((losses * known).sum(dim=0) / counts.clamp(min=1)).sum()


def train_batch(
    model: Model,
    batch: Batch,
    optimizers: list[Optimizer],
    device: torch.device,
    precision: Precision = "float32",
    team: Team = ALONE,
) -> None:
    """One step of the FM, by all workers of its team together."""
    model.train()
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    known = ~batch.labels.isnan()
    mask = None if known.all() else known.to(device)
    part, counts = team.part(batch.to(device)), None
    if team.workers > 1:  # a task's labels may be in some parts more than in others
        mask, counts = known[part.start : part.stop].to(device), known.sum(dim=0).to(device)
    with multiplied_in(precision):
        with computed_in(precision, device):
            loss = multi_task_loss(model(part.batch.inputs), part.batch.labels, mask, counts)
        loss.backward()  # type: ignore[no-untyped-call]
    team.sum_gradients(optimizers, share=float(part.share > 0))
    for optimizer in optimizers:
        optimizer.step()


def train_foundation_stream(settings: dict[str, Any]) -> None:
    """The training function of the FM's Ray Train run: goes on after the last committed day.

    Where a snapshot is lacking from before that day, since somebody has deleted it, the stream starts over. Of several
    workers, the first commits and publishes.

    Args:
        settings: `experiment`, an `Experiment` as JSON values.
    """
    experiment = Experiment.model_validate(settings["experiment"])
    config, place = experiment.recipe.fm, experiment.fm_checkpoints
    device = training_device()
    team = Team.here(device)
    state = latest_state(place)
    batch_rows = experiment.batch_rows(config.optimizer.batch_size)
    day_done, rows_seen = config.train_from_day - 1, 0
    if state is not None and min(experiment.lacking_snapshots, default=day_done) < int(state[0].about["day"]):
        state = None
    if state is not None:
        about = state[0].about
        day_done, rows_seen = int(about["day"]), int(about["rows_seen"])
    traffic = coded(experiment, experiment.fm_traffic(), max(day_done, config.train_from_day))
    model = seeded(partial(_build, config, traffic), config.seed, config.name).to(device)
    if config.optimizer.compile:
        compile_layers(model)
    optimizers = build_optimizers(config.optimizer, model.dense_parameters(), model.table_parameters())
    if state is not None:
        put_state(state[1], model, optimizers)
        state = None  # its tensors are in the model and the optimizers now
        if team.is_first:
            _publish(experiment, traffic, model, day_done, int(about["rows"]), rows_seen, Stopwatch.start())
    team.check_equal(model, day_done, rows_seen)
    timeout = experiment.recipe.resources.wait_timeout_seconds
    for day in range(day_done + 1, experiment.fm_days.stop):
        wait_until_committed(Location(experiment.dataset).day(day), timeout, f"the partition of day {day}")
        if (feedback := experiment.feedback(day)) is not None:
            wait_until_committed(feedback, timeout, f"the feedback of day {day}")
        before, traffic = traffic.schema, coded(experiment, experiment.fm_traffic(), day)
        if traffic.schema != before:
            grow(model, optimizers["tables"], partial(_build, config, traffic), config.seed, config.name, f"day {day}")
        stopwatch, rows = Stopwatch.start(time.process_time), 0
        for batch in day_batches(traffic, day, batch_rows, feedback=feedback):
            train_batch(model, batch, list(optimizers.values()), device, config.optimizer.precision, team)
            rows += len(batch)
        rows_seen += rows
        team.check_equal(model, day, rows_seen)
        if not team.is_first:
            note_help(experiment.run, "fm", config.name, day, team.worker, stopwatch)
            continue
        save_checkpoint(place, day, model, optimizers, {"rows": rows, "rows_seen": rows_seen}, stopwatch)
        _publish(experiment, traffic, model, day, rows, rows_seen, stopwatch)


def _build(config: FoundationModelConfig, traffic: Traffic) -> Model:
    return build_model(config.model, traffic.schema, len(traffic.tasks))


def _publish(
    experiment: Experiment,
    traffic: Traffic,
    model: Model,
    day: int,
    rows: int,
    rows_seen: int,
    stopwatch: Stopwatch,
) -> None:
    """Publish FM(day) if that has not been done; a process may have died between its checkpoint and here."""
    if committed(experiment.snapshots.day(day)) is None:
        facts = SnapshotFacts(
            model=experiment.recipe.fm.model,
            inputs=traffic.schema,
            tasks=experiment.data_schema.tasks,
            trained_through=day,
            rows_seen=rows_seen,
            parameters=model.parameter_count(),
        )
        SnapshotDatabase(experiment.snapshots).publish(model, facts, rows, stopwatch, traffic.vocabularies)
