"""Supervision of one day: the partition streams through the FM, in order, into a side-car."""

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray.data
from ray import serve
from ray.serve.handle import DeploymentHandle

from exfm_ray.das.asking import answer_to
from exfm_ray.das.pointer import LatestPointer, point_to
from exfm_ray.das.wire import from_bytes, to_bytes
from exfm_ray.data.commit import CommittedFile, Stopwatch, commit, committed, require, sweep
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows, write_part
from exfm_ray.data.waiting import wait_until_committed
from exfm_ray.errors import DataError
from exfm_ray.schema import EVENT_ID, FM_SNAPSHOT, supervision_column

REQUESTS_IN_FLIGHT = 3
CPUS_PER_TASK = 0.25
"""a task mostly waits for the FM; a whole CPU each would starve what trains beside it"""


def augment_days(
    experiment: Experiment, application: str, pointer: LatestPointer, handle: DeploymentHandle[Any] | None
) -> None:
    """Supervise every day that VMs read, each as soon as its snapshot and its partition are there.

    Args:
        application: name of the FM's Serve application.
        handle: of the FM in this process (local mode); None lets Ray Data spread the work.
    """
    timeout = experiment.recipe.resources.wait_timeout_seconds
    for day in experiment.supervised_days:
        if committed(experiment.supervision(day)) is None:
            snapshot_day = experiment.supervising_snapshot(day)
            partition = Location(experiment.dataset).day(day)
            wait_until_committed(partition, timeout, f"the partition of day {day}")
            snapshot = experiment.snapshots.day(snapshot_day)
            wait_until_committed(snapshot, timeout, f"the FM trained through day {snapshot_day}")
            point_to(pointer, snapshot_day, time.time(), experiment.recipe.das.lease_seconds)
            augment_day(experiment, day, application, handle)


def augment_day(experiment: Experiment, day: int, application: str, handle: DeploymentHandle[Any] | None) -> None:
    """Write and commit the side-car of one day, one file per file of the partition, row by row beside it."""
    stopwatch = Stopwatch.start()
    supervision = experiment.supervision(day)
    sweep(supervision)
    parts = require(Location(experiment.dataset).day(day)).files
    if handle is not None:
        files = [augment_part(experiment, day, part, file, handle) for part, file in enumerate(parts)]
    else:
        work = [{"part": part, "file": file.model_dump()} for part, file in enumerate(parts)]
        files = _on_ray_data(experiment, day, application, work)
    for written, read in zip(files, parts, strict=True):
        if written.rows != read.rows:
            raise DataError(f"side-car file {written.name} has {written.rows} rows beside {read.rows} of {read.name}")
    identity = experiment.snapshot_identity(experiment.supervising_snapshot(day))
    about = {"day": day, FM_SNAPSHOT: identity, "tasks": list(experiment.data_schema.tasks)}
    commit(supervision, files, about, stopwatch)


def _on_ray_data(experiment: Experiment, day: int, application: str, work: list[dict[str, Any]]) -> list[CommittedFile]:
    """One Ray Data task per file. A task that is retried writes a file of another name; only one gets committed."""
    settings = experiment.model_dump(mode="json")

    def augment(row: dict[str, Any]) -> dict[str, Any]:
        deployed = serve.get_app_handle(application)
        read = CommittedFile.model_validate(row["file"])
        written = augment_part(Experiment.model_validate(settings), day, row["part"], read, deployed)
        return {"part": row["part"], **written.model_dump()}

    data = ray.data.from_items(work, override_num_blocks=len(work)).map(
        augment,
        num_cpus=CPUS_PER_TASK,
        compute=ray.data.TaskPoolStrategy(size=experiment.recipe.resources.augment_tasks),
    )
    rows = sorted(data.take_all(), key=lambda row: int(row["part"]))
    return [CommittedFile.model_validate({k: v for k, v in row.items() if k != "part"}) for row in rows]


def augment_part(
    experiment: Experiment, day: int, part: int, file: CommittedFile, handle: DeploymentHandle[Any]
) -> CommittedFile:
    """Supervise one file of a partition: event_id, fm_<task> …, fm_snapshot, in the file's row order."""
    partition = Location(experiment.dataset).day(day)
    columns = [EVENT_ID, *(feature.name for feature in experiment.fm_traffic().schema.features)]
    requests = read_rows(partition, columns, experiment.recipe.das.rows_per_request, [file])
    snapshot_day = experiment.supervising_snapshot(day)
    expected = experiment.snapshot_identity(snapshot_day)
    answers = list(_supervised(requests, handle, snapshot_day, expected))
    table = pa.concat_tables(answers) if answers else _empty(experiment)
    return write_part(experiment.supervision(day), part, table)


def _supervised(
    requests: Iterator[pa.Table], handle: DeploymentHandle[Any], snapshot_day: int, expected: str
) -> Iterator[pa.Table]:
    """The requests' rows with their supervision, in order; a few requests are under way at once."""
    waiting: deque[tuple[pa.Table, Any]] = deque()

    def answered() -> pa.Table:
        rows, response = waiting.popleft()
        identity, answer = answer_to(response, lambda: handle.predict.remote(to_bytes(rows), snapshot_day))
        supervision = from_bytes(answer)
        if identity != expected or supervision.num_rows != rows.num_rows:
            raise DataError(f"asked {expected} about {rows.num_rows} rows, {identity} gave {supervision.num_rows}")
        supervision = supervision.add_column(0, EVENT_ID, rows[EVENT_ID])
        return supervision.append_column(FM_SNAPSHOT, pa.repeat(identity, rows.num_rows))

    for rows in requests:
        waiting.append((rows, handle.predict.remote(to_bytes(rows), snapshot_day)))
        if len(waiting) >= REQUESTS_IN_FLIGHT:
            yield answered()
    while waiting:
        yield answered()


def _empty(experiment: Experiment) -> pa.Table:
    """The side-car of a file without rows."""
    tasks = [(supervision_column(task), pa.float32()) for task in experiment.data_schema.tasks]
    return pa.schema([(EVENT_ID, pa.int64()), *tasks, (FM_SNAPSHOT, pa.string())]).empty_table()
