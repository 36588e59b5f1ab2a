"""The labels of a day as they were known once its feedback windows had closed: a side-car beside the partition."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exfm_ray.config import FeedbackConfig
from exfm_ray.das.join import END_OF_TIME, MILLISECONDS, FeedbackJoin, Joined
from exfm_ray.data.commit import CommittedFile, Manifest, Stopwatch, commit, committed
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows, write_part
from exfm_ray.data.waiting import wait_until_committed
from exfm_ray.errors import DataError
from exfm_ray.schema import EVENT_ID, EVENT_TIME, delay_column, label_column

Integers = NDArray[np.int64]
Records = tuple[Integers, Integers, Integers]
"""event ids, event times and arrivals"""
NO_RECORDS: Records = (np.zeros(0, dtype=np.int64),) * 3


def join_days(experiment: Experiment) -> None:
    """Join every day that a model trains on, each as soon as its partition is there."""
    timeout = experiment.recipe.resources.wait_timeout_seconds
    for day in experiment.joined_days:
        feedback = experiment.feedback(day)
        assert feedback is not None
        if committed(feedback) is None:
            partition = Location(experiment.dataset).day(day)
            manifest = wait_until_committed(partition, timeout, f"the partition of day {day}")
            join_day(experiment, day, partition, manifest, feedback)


def join_day(experiment: Experiment, day: int, partition: Location, manifest: Manifest, feedback: Location) -> None:
    """Write and commit the labels of one day, one file per file of the partition, row by row beside it."""
    config, tasks = experiment.recipe.das.feedback, experiment.data_schema.tasks
    assert config is not None
    stopwatch = Stopwatch.start()
    join = FeedbackJoin({task: config.window(task) for task in tasks})
    columns = [EVENT_ID, EVENT_TIME, *(name(task) for task in tasks for name in (label_column, delay_column))]
    labels = labels_in_time(join, read_rows(partition, columns, files=manifest.files), drop=config.late == "drop")
    if labels.num_rows != manifest.rows:
        raise DataError(f"the join of {partition} gave {labels.num_rows} rows of {manifest.rows}")
    commit(feedback, _files(feedback, labels, manifest), _about(day, config, join, labels), stopwatch)


def labels_in_time(join: FeedbackJoin, tables: Iterator[pa.Table], *, drop: bool) -> pa.Table:
    """Replay a day through a join: features are logged as events happen, feedback comes when its delay is over.

    Args:
        tables: the day's rows in order: event_id, event_time, and label and delay of the join's tasks. A positive
            label whose delay is unknown came at once.
        drop: lost labels are null; else they are 0.

    Returns:
        event_id and label_<task> int8 in the rows' order.
    """
    outstanding = dict.fromkeys(join.tasks, NO_RECORDS)
    parts: list[Joined] = []
    for table in tables:
        event_id, event_time = table[EVENT_ID].to_numpy(), table[EVENT_TIME].to_numpy()
        join.add_rows(event_id, event_time)
        watermark = int(event_time[-1])
        for task in join.tasks:
            records = _with(outstanding[task], _records(table, task, event_id, event_time))
            outstanding[task] = _hand_over(join, task, records, watermark)
        parts.append(join.advance(watermark))
    for task in join.tasks:
        _hand_over(join, task, outstanding[task], END_OF_TIME)
    parts.append(join.finish())
    return _labels(join, parts, drop=drop)


def _records(table: pa.Table, task: str, event_id: Integers, event_time: Integers) -> Records:
    rows = np.flatnonzero(table[label_column(task)].to_numpy() == 1)
    delays = pc.fill_null(table[delay_column(task)].cast(pa.int64()), 0).to_numpy()[rows]
    return event_id[rows], event_time[rows], event_time[rows] + delays * MILLISECONDS


def _with(held: Records, new: Records) -> Records:
    ids, times, arrivals = (np.concatenate(pair) for pair in zip(held, new, strict=True))
    return ids, times, arrivals


def _hand_over(join: FeedbackJoin, task: str, records: Records, watermark: int) -> Records:
    """Give the join what arrived before the watermark, in order of arrival; the rest is still to come."""
    ids, times, arrivals = records
    order = np.argsort(arrivals, kind="stable")
    ids, times, arrivals = ids[order], times[order], arrivals[order]
    count = int(np.searchsorted(arrivals, watermark))
    join.add_feedback(task, ids[:count], times[:count], arrivals[:count])
    return ids[count:], times[count:], arrivals[count:]


def _labels(join: FeedbackJoin, parts: list[Joined], *, drop: bool) -> pa.Table:
    event_id = np.concatenate([part.event_id for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    is_lost = np.zeros(labels.shape, dtype=bool)
    if drop:
        lost = np.concatenate([part.lost_event_id for part in parts])
        by_id = np.argsort(event_id, kind="stable")
        rows = by_id[np.searchsorted(event_id, lost, sorter=by_id)]
        is_lost[rows, np.concatenate([part.lost_task for part in parts])] = True
    columns = {
        label_column(task): pa.array(labels[:, index], pa.int8(), mask=is_lost[:, index])
        for index, task in enumerate(join.tasks)
    }
    return pa.table({EVENT_ID: event_id, **columns})


def _files(feedback: Location, labels: pa.Table, partition: Manifest) -> list[CommittedFile]:
    """One file per file of the partition."""
    starts = np.cumsum([0, *(file.rows for file in partition.files)]).tolist()
    return [
        write_part(feedback, part, labels.slice(start, file.rows))
        for part, (start, file) in enumerate(zip(starts[:-1], partition.files, strict=True))
    ]


def _about(day: int, config: FeedbackConfig, join: FeedbackJoin, labels: pa.Table) -> dict[str, Any]:
    """What the labels mean, and where the feedback has gone."""
    tasks = {}
    for task, counts in join.counts.items():
        positives = counts.in_time + counts.lost
        share = counts.lost / positives if positives else None
        tasks[task] = {
            "window": config.window(task), "positives": positives, **asdict(counts), "share_lost": share
        }  # fmt: skip
    has_label = np.any([labels[label_column(task)].is_valid().to_numpy() for task in join.tasks], axis=0)
    dropped = labels.num_rows - int(has_label.sum())
    return {"day": day, "late": config.late, "rows": join.rows, "rows_without_label": dropped, "tasks": tasks}
