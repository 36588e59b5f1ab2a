"""The feedback window in numbers: labels that came too late, and how much of the window the FM's inference used."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exfm_ray.config import FeedbackConfig, Recipe
from exfm_ray.config.feedback import DAY_SECONDS
from exfm_ray.das.window import Requests, WindowUse, measured_requests, window_use
from exfm_ray.data.commit import Manifest, require, rows_worked_on
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import committed_days
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.data.store.stored import Kind
from exfm_ray.report.results import Results


@dataclass(frozen=True)
class TaskLabels:
    """Positive labels of one task over all days that models trained on."""

    task: str
    window: int
    """seconds"""
    positives: int
    in_time: int
    lost: int

    @property
    def share_lost(self) -> float | None:
        return self.lost / self.positives if self.positives else None

    @property
    def share_of_day(self) -> float:
        """Of the evaluated day, that has passed when the last labels of the day before are there."""
        return self.window / DAY_SECONDS


@dataclass(frozen=True)
class Labels:
    """What became of the labels."""

    late: str
    days: int
    rows: int
    rows_without_label: int
    tasks: tuple[TaskLabels, ...]

    @property
    def longest(self) -> int:
        """Seconds until the FM, which learns all tasks, has all labels of a day."""
        return max(task.window for task in self.tasks)


@dataclass(frozen=True)
class FoundationWork:
    """The FM's measured work on one day, or on all of them."""

    day: int | None
    """None: all days"""
    requests: int
    rows: int
    replicas: int
    row_seconds: float
    """of FM work per row"""
    p50: float
    p99: float
    """of the requests' seconds of work"""
    use: WindowUse | None
    """None without a feedback window"""


@dataclass(frozen=True)
class Calls:
    """FM predictions beside the rows that all VMs read, on the evaluated days."""

    days: tuple[int, ...]
    fm_rows: int
    vm_rows: int
    """each VM's once, whatever its methods and seeds"""

    @property
    def ratio(self) -> float:
        return self.fm_rows / self.vm_rows


def read_labels(run: RunDirectory, config: FeedbackConfig | None) -> Labels | None:
    """What the joined days say; None where no day was joined."""
    about = [manifest.about for _, manifest in _manifests(run, "feedback", run.feedback)]
    if config is None or not about:
        return None
    tasks = [
        TaskLabels(
            task=task,
            window=config.window(task),
            positives=sum(day["tasks"][task]["positives"] for day in about),
            in_time=sum(day["tasks"][task]["in_time"] for day in about),
            lost=sum(day["tasks"][task]["lost"] for day in about),
        )
        for task in about[0]["tasks"]
    ]
    return Labels(
        late=config.late,
        days=len(about),
        rows=sum(day["rows"] for day in about),
        rows_without_label=sum(day["rows_without_label"] for day in about),
        tasks=tuple(tasks),
    )


def read_fm_work(run: RunDirectory, labels: Labels | None) -> list[FoundationWork]:
    """The FM's work by day and, last, over all days; days whose manifests recorded no requests are left out.

    Args:
        labels: their shortest window is what the FM's answers have to come in.
    """
    window = min(task.window for task in labels.tasks) if labels is not None else None
    of_days = [
        (day, requests, manifest)
        for day, manifest in _supervision(run)
        if (requests := measured_requests([manifest.made])) is not None
    ]
    found = [_fm_work(day, requests, window) for day, requests, _ in of_days]
    whole = measured_requests([manifest.made for *_, manifest in of_days])
    return [*found, _fm_work(None, whole, window)] if whole is not None and len(found) > 1 else found


def _fm_work(day: int | None, requests: Requests, window: int | None) -> FoundationWork:
    rows = int(requests.rows.sum())
    p50, p99 = np.quantile(requests.seconds, [0.5, 0.99]).tolist()
    return FoundationWork(
        day=day,
        requests=len(requests),
        rows=rows,
        replicas=requests.replicas,
        row_seconds=requests.work / rows,
        p50=p50,
        p99=p99,
        use=window_use(requests, window) if window is not None else None,
    )


def read_calls(run: RunDirectory, results: Results) -> Calls | None:
    """FM predictions and VM rows of the evaluated days; None where no side-car of such a day is there."""
    fm_rows = {day: rows_worked_on(m) for day, m in _supervision(run)}
    days = tuple(day for day in results.days if day in fm_rows)
    vm_rows = {(line.vm, line.eval_day): line.rows for line in results.lines if line.eval_day in days}
    if not sum(vm_rows.values()):
        return None
    return Calls(days, sum(fm_rows[day] for day in days), sum(vm_rows.values()))


def fm_is_late(recipe: Recipe, labels: Labels) -> float:
    """Seconds of the supervised day that pass before the labels are there that its FM was trained on; 0: none."""
    return max(labels.longest - recipe.fm.staleness_days * DAY_SECONDS, 0)


def staleness_needed(labels: Labels) -> int:
    """The least fm.staleness_days with which the FM is there when the supervised day begins."""
    return math.ceil(labels.longest / DAY_SECONDS)


def _supervision(run: RunDirectory) -> Sequence[tuple[int, Manifest]]:
    return _manifests(run, "supervision", run.supervision(run.recipe().fm.name))


def _manifests(run: RunDirectory, kind: Kind, place: Location) -> Sequence[tuple[int, Manifest]]:
    return [(day, require(place.day(day))) for day in run.own_days(kind, committed_days(place))]
