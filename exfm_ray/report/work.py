"""What ran where and how long, read from the manifests and outcome files of a run directory."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from exfm_ray.data.commit import Made, require, rows_worked_on
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import committed_days
from exfm_ray.data.run_directory import Outcome, RunDirectory
from exfm_ray.data.stored import Kind
from exfm_ray.report.cascade import CascadeLine, read_cascade_lines
from exfm_ray.report.results import Result, Results

StepKind = Literal["data", "feedback", "fm", "supervision", "vm", "cascade"]
STEP_KINDS: dict[StepKind, str] = {
    "data": "Data preparation",
    "feedback": "Feedback join",
    "fm": "FM training",
    "supervision": "FM supervision",
    "vm": "VM training and evaluation",
    "cascade": "Cascade evaluation",
}


@dataclass(frozen=True)
class DayOfWork:
    """One committed piece of work: a partition, its labels, a snapshot, a side-car, or a day of a VM variant or of a
    cascade."""

    kind: StepKind
    day: int
    rows: int | None
    made: Made

    @property
    def ended(self) -> float:
        """Seconds since the Unix epoch."""
        return self.made.started + self.made.seconds


@dataclass(frozen=True)
class KindOfWork:
    """All work of one kind."""

    kind: StepKind
    pieces: int
    days: int
    rows: int | None
    seconds: float
    """Summed over pieces; where several processes work at once it exceeds the time on the clock."""
    clock_seconds: float
    """From the first start to the last end."""
    hosts: tuple[str, ...]
    processes: int

    @property
    def rows_per_second(self) -> float | None:
        """Rows per second of the summed time: the rate of one process."""
        return self.rows / self.seconds if self.rows is not None and self.seconds > 0 else None


def read_work(run: RunDirectory, results: Results) -> tuple[DayOfWork, ...]:
    """Every recorded piece of work; what a run directory does not hold is left out.

    FM training counts the rows of the day's partition; a VM's day counts the rows that it was evaluated on.
    """
    fm = run.recipe().fm.name
    pieces = _directories("data", run, "days", run.days)
    rows_of_day = {piece.day: piece.rows for piece in pieces}
    pieces += _directories("feedback", run, "feedback", run.feedback)
    for snapshot in _directories("fm", run, "fm", run.snapshots_of(fm)):
        pieces.append(DayOfWork("fm", snapshot.day, rows_of_day.get(snapshot.day), snapshot.made))
    pieces += _directories("supervision", run, "supervision", run.supervision(fm))
    for line in results.lines:
        pieces += _outcome(run, line)
    for cascade in read_cascade_lines(run):
        pieces += _cascade_outcome(run, cascade)
    return tuple(pieces)


def _directories(kind: StepKind, run: RunDirectory, stored_as: Kind, place: Location) -> list[DayOfWork]:
    days = run.own_days(stored_as, committed_days(place))
    manifests = [(day, require(place.day(day))) for day in days]
    return [DayOfWork(kind, day, rows_worked_on(manifest), manifest.made) for day, manifest in manifests]


def _outcome(run: RunDirectory, line: Result) -> list[DayOfWork]:
    place = run.outcome_file(line.vm, line.method, line.seed, line.eval_day)
    if not place.is_file():
        return []
    return [DayOfWork("vm", line.eval_day, line.rows, Outcome.model_validate_json(place.read()).made)]


def _cascade_outcome(run: RunDirectory, line: CascadeLine) -> list[DayOfWork]:
    place = run.cascade_outcome_file(line.domain, line.method, line.seed, line.eval_day)
    if not place.is_file():
        return []
    made = Outcome.model_validate_json(place.read()).made
    return [DayOfWork("cascade", line.eval_day, line.requests, made)]


def totals(pieces: Iterable[DayOfWork]) -> list[KindOfWork]:
    """One row per kind of work that was recorded."""
    by_kind: dict[StepKind, list[DayOfWork]] = {kind: [] for kind in STEP_KINDS}
    for piece in pieces:
        by_kind[piece.kind].append(piece)
    return [_total(kind, members) for kind, members in by_kind.items() if members]


def _total(kind: StepKind, pieces: list[DayOfWork]) -> KindOfWork:
    known = [piece.rows for piece in pieces if piece.rows is not None]
    return KindOfWork(
        kind=kind,
        pieces=len(pieces),
        days=len({piece.day for piece in pieces}),
        rows=sum(known) if len(known) == len(pieces) else None,
        seconds=sum(piece.made.seconds for piece in pieces),
        clock_seconds=max(piece.ended for piece in pieces) - min(piece.made.started for piece in pieces),
        hosts=tuple(sorted({piece.made.host for piece in pieces})),
        processes=len({(piece.made.host, piece.made.process) for piece in pieces}),
    )


@dataclass(frozen=True)
class Span:
    """A bar of the timeline: what one process did for one day."""

    kind: StepKind
    lane: str
    day: int
    pieces: int
    started: float
    ended: float


def timeline(pieces: Iterable[DayOfWork], of_this_run: bool) -> list[Span]:
    """Bars by lane, in order of kind and start; the pieces of one process and day are one bar.

    Data preparation is left out unless it is `of_this_run`: a prepared data set may be weeks old.
    """
    groups: dict[tuple[StepKind, str, int, int], list[DayOfWork]] = {}
    for piece in pieces:
        if piece.kind == "data" and not of_this_run:
            continue
        groups.setdefault((piece.kind, piece.made.host, piece.made.process, piece.day), []).append(piece)
    spans = []
    for (kind, host, process, day), members in groups.items():
        lane = f"{STEP_KINDS[kind]}, {host}:{process}"
        start, end = min(member.made.started for member in members), max(member.ended for member in members)
        spans.append(Span(kind, lane, day, len(members), start, end))
    order = list(STEP_KINDS)
    return sorted(spans, key=lambda span: (order.index(span.kind), span.lane, span.started))
