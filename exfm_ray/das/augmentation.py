"""Supervision of one day: the rows that VMs read stream through the FM, in order, into a side-car."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve.handle import DeploymentHandle

from exfm_ray.das.asking import answer_to
from exfm_ray.das.metrics import WindowMetrics
from exfm_ray.das.pointer import LatestPointer, point_to
from exfm_ray.das.window import Requests, RequestTime, head_room, measured_of
from exfm_ray.das.wire import from_bytes, seconds_of, to_buffer
from exfm_ray.data.commit import CommittedFile, Stopwatch, commit, committed, require
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema, read_rows, rebatch, write_part
from exfm_ray.data.waiting import WAIT_MEND, wait_until_committed
from exfm_ray.errors import DataError
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, FM_SNAPSHOT, STAGE, supervision_column
from exfm_ray.waits import within

Mask = NDArray[np.bool_]
Row = Callable[[dict[str, Any]], dict[str, Any]]
"""what a task makes of a row"""

REQUESTS_IN_FLIGHT = 3
CPUS_PER_TASK = 0.25
"""a task mostly waits for the FM; a whole CPU each would starve what trains beside it"""


class SupervisedPart(BaseModel):
    """What became of one file of a partition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: CommittedFile
    requests: tuple[RequestTime, ...]
    """those to the FM, in order"""
    cpu_seconds: float
    """that reading, asking and writing took, without the FM"""


def augment_days(
    experiment: Experiment, application: str, pointer: LatestPointer, handle: DeploymentHandle[Any] | None
) -> None:
    """Supervise every day that VMs read, each as soon as its snapshot and its partition are there.

    Args:
        application: name of the FM's Serve application.
        handle: of the FM in this process (local mode); None lets Ray Data spread the work.
    """
    timeout, metrics = experiment.recipe.resources.wait_timeout_seconds, WindowMetrics(application)
    if handle is None:
        _start_ray_data(experiment)
    for day in experiment.supervised_days:
        if committed(experiment.supervision(day)) is None:
            snapshot_day = experiment.supervising_snapshot(day)
            partition = Location(experiment.dataset).day(day)
            wait_until_committed(partition, timeout, f"the partition of day {day}")
            snapshot = experiment.snapshots.day(snapshot_day)
            wait_until_committed(snapshot, timeout, f"the FM trained through day {snapshot_day}")
            point_to(pointer, snapshot_day, time.time(), experiment.recipe.das.lease_seconds)
            requests = augment_day(experiment, day, application, handle)
            if experiment.recipe.das.feedback is not None and len(requests):
                window = experiment.recipe.das.feedback.shortest(experiment.data_schema.tasks)
                metrics.headroom(head_room(requests, window))


def augment_day(experiment: Experiment, day: int, application: str, handle: DeploymentHandle[Any] | None) -> Requests:
    """Write and commit the side-car of one day, one file per file of the partition, row by row beside it.

    Returns:
        the requests to the FM.
    """
    stopwatch = Stopwatch.start()
    supervision = experiment.supervision(day)
    files = require(Location(experiment.dataset).day(day)).files
    if handle is not None:
        parts = [augment_part(experiment, day, part, file, handle) for part, file in enumerate(files)]
    else:
        parts = _on_ray_data(experiment, day, application, files)
        stopwatch = replace(stopwatch, cpu_before=stopwatch.cpu_before - sum(part.cpu_seconds for part in parts))
    for part, read in zip(parts, files, strict=True):
        written = part.file
        if written.rows != read.rows:
            raise DataError(f"side-car file {written.name} has {written.rows} rows beside {read.rows} of {read.name}")
    requests = [request for part in parts for request in part.requests]
    stopwatch = replace(stopwatch, cpu_before=stopwatch.cpu_before - sum(request.seconds for request in requests))
    about = {
        "day": day,
        FM_SNAPSHOT: experiment.snapshot_identity(experiment.supervising_snapshot(day)),
        "tasks": list(experiment.data_schema.tasks),
        "fm_rows": sum(request.rows for request in requests),
    }
    replicas = experiment.recipe.resources.fm_replicas
    commit(supervision, [part.file for part in parts], about, stopwatch, measured_of(requests, replicas))
    return Requests.of(requests, replicas)


def _on_ray_data(
    experiment: Experiment, day: int, application: str, files: Sequence[CommittedFile]
) -> list[SupervisedPart]:
    """One Ray Data task per file. A task that is retried writes a file of another name; only one gets committed.

    Raises:
        WaitError: they did not end in the recipe's time, or never began because others hold the cluster's CPUs.
        DataError: a task found that a committed file is not as it was, in its words without Ray's account of the task.
    """
    settings = experiment.model_dump(mode="json")

    def augment(row: dict[str, Any]) -> dict[str, Any]:
        deployed = serve.get_app_handle(application)
        file = CommittedFile.model_validate_json(row["file"])
        try:
            done = augment_part(Experiment.model_validate(settings), day, row["part"], file, deployed)
        except (DataError, FileNotFoundError) as error:
            return {"part": row["part"], "done": None, "failure": str(error)}
        return {"part": row["part"], "done": done.model_dump_json(), "failure": None}

    work = [{"part": part, "file": file.model_dump_json()} for part, file in enumerate(files)]
    done = _mapped(experiment, augment, work, f"Ray Data's tasks that supervise day {day}")
    rows = sorted(done, key=lambda row: int(row["part"]))
    if failure := next((row["failure"] for row in rows if row["failure"] is not None), None):
        raise DataError(failure)
    return [SupervisedPart.model_validate_json(row["done"]) for row in rows]


def _start_ray_data(experiment: Experiment) -> None:
    """What starts with the first task, and takes seconds, starts while the FM still learns its first day."""
    _mapped(experiment, _as_it_is, [{"part": 0}], "Ray Data's first task")


def _as_it_is(row: dict[str, Any]) -> dict[str, Any]:
    return row  # found by its name, so that its process imports this file


def _mapped(experiment: Experiment, function: Row, rows: Sequence[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    """A Ray Data task per row.

    Raises:
        WaitError: they did not end in the recipe's time.
    """
    resources = experiment.recipe.resources
    data = ray.data.from_items(list(rows), override_num_blocks=len(rows)).map(
        function, num_cpus=CPUS_PER_TASK, compute=ray.data.TaskPoolStrategy(size=resources.augment_tasks)
    )
    return within(resources.wait_timeout_seconds, what, WAIT_MEND, data.take_all)


def augment_part(
    experiment: Experiment, day: int, part: int, file: CommittedFile, handle: DeploymentHandle[Any]
) -> SupervisedPart:
    """Supervise one file of a partition: event_id, fm_<task> …, fm_snapshot, in the file's row order.

    The FM gets full requests of the rows that some VM reads, each once; the supervision of the others is null.
    """
    cpu_before = time.thread_time()
    partition = Location(experiment.dataset).day(day)
    keys = _keys(experiment, partition, file)
    wanted = read_by_some_vm(experiment, keys)
    features = [feature.name for feature in experiment.fm_traffic().schema.features]
    rows_per_request = experiment.recipe.das.rows_per_request
    requests = rebatch(only(wanted, read_rows(partition, features, rows_per_request, [file])), rows_per_request)
    snapshot_day = experiment.supervising_snapshot(day)
    identity = experiment.snapshot_identity(snapshot_day)
    answers = list(_answers(requests, handle, snapshot_day, identity))
    table = side_car(keys[EVENT_ID], wanted, answers, experiment.data_schema.tasks, identity)
    written = write_part(experiment.supervision(day), part, table)
    times = request_times(keys[EVENT_TIME].to_numpy()[wanted], answers)
    return SupervisedPart(file=written, requests=times, cpu_seconds=round(time.thread_time() - cpu_before, 3))


def _keys(experiment: Experiment, partition: Location, file: CommittedFile) -> pa.Table:
    """What says which rows a file has, when they happened, and who reads them."""
    names = [EVENT_ID, EVENT_TIME, DOMAIN, STAGE]
    whole = arrow_schema(experiment.data_schema)
    none = pa.schema([whole.field(name) for name in names]).empty_table()
    return pa.concat_tables([none, *read_rows(partition, names, files=[file])])


def read_by_some_vm(experiment: Experiment, keys: pa.Table) -> Mask:
    """Which rows at least one VM of the recipe reads, by their domain and stage."""
    domains, stages = keys[DOMAIN].to_numpy(), keys[STAGE].to_numpy()
    wanted = np.zeros(keys.num_rows, dtype=np.bool_)
    for domain, stage in {(vm.domain, vm.stage) for vm in map(experiment.vm_traffic, experiment.recipe.vms)}:
        wanted |= (domains == domain) & (stages == stage)
    return wanted


def only(wanted: Mask, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The wanted ones of the tables' rows, which `wanted` covers from first to last; whole tables are not copied."""
    start = 0
    for table in tables:
        of_table = wanted[start : start + table.num_rows]
        start += table.num_rows
        yield table if of_table.all() else table.filter(pa.array(of_table))


def side_car(
    ids: pa.ChunkedArray, wanted: Mask, answers: Sequence[pa.Table], tasks: Sequence[str], identity: str
) -> pa.Table:
    """A row per id: the answers' rows one after the other where wanted, null elsewhere.

    Args:
        answers: `fm_<task>` of the wanted rows.
        identity: the snapshot that all of them come from.

    Raises:
        DataError: there are more or fewer answers than wanted rows.
    """
    columns = [(supervision_column(task), pa.float32()) for task in tasks]
    supervision = pa.concat_tables([pa.schema(columns).empty_table(), *answers])
    if supervision.num_rows != wanted.sum():
        raise DataError(f"the FM was asked about {wanted.sum()} rows and answered {supervision.num_rows}")
    spread = supervision.take(pa.array(np.cumsum(wanted) - 1, mask=~wanted)).add_column(0, EVENT_ID, ids)
    snapshots = pc.if_else(pa.array(wanted), pa.scalar(identity), pa.scalar(None, pa.string()))
    return spread.append_column(FM_SNAPSHOT, snapshots)


def request_times(events: NDArray[np.int64], answers: Sequence[pa.Table]) -> tuple[RequestTime, ...]:
    """How long the FM worked on each request, and when the rows of it happened.

    Args:
        events: event times of the answers' rows, one answer after the other, milliseconds.
    """
    edges = np.cumsum([0, *(answer.num_rows for answer in answers)])
    return tuple(
        RequestTime(
            first_event=int(events[start]), last_event=int(events[stop - 1]), rows=int(stop - start),
            seconds=round(seconds_of(answer), 6),
        )
        for answer, (start, stop) in zip(answers, pairwise(edges), strict=True)
    )  # fmt: skip


def _answers(
    requests: Iterator[pa.Table], handle: DeploymentHandle[Any], snapshot_day: int, expected: str
) -> Iterator[pa.Table]:
    """The FM's answers to the requests, in order; a few requests are under way at once."""
    waiting: deque[tuple[pa.Table, Any]] = deque()

    def first() -> pa.Table:
        rows, response = waiting.popleft()
        identity, content = answer_to(response, lambda: handle.predict.remote(to_buffer(rows), snapshot_day))
        answer = from_bytes(content)
        if identity != expected or answer.num_rows != rows.num_rows:
            raise DataError(f"asked {expected} about {rows.num_rows} rows, {identity} gave {answer.num_rows}")
        return answer

    for rows in requests:
        waiting.append((rows, handle.predict.remote(to_buffer(rows), snapshot_day)))
        if len(waiting) >= REQUESTS_IN_FLIGHT:
            yield first()
    while waiting:
        yield first()
