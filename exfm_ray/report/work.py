"""What ran where and how long, read from the manifests and outcome files of a run directory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from exfm_ray.config import Recipe
from exfm_ray.data.commit import Made, require, rows_worked_on
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import committed_days
from exfm_ray.data.run_clock import Start, read_help, read_starts
from exfm_ray.data.run_directory import RunDirectory, read_outcome, variant_name
from exfm_ray.data.store.stored import Kind
from exfm_ray.report.cascade import CascadeLine, read_cascade_lines
from exfm_ray.report.results import Result, Results

StepKind = Literal[
    "start", "data", "vocabulary", "feedback", "fm", "supervision", "vm_training", "vm_evaluation", "cascade"
]
STEP_KINDS: dict[StepKind, str] = {
    "start": "Start-up",
    "data": "Data preparation",
    "vocabulary": "Counting of ids",
    "feedback": "Feedback join",
    "fm": "FM training",
    "supervision": "FM supervision",
    "vm_training": "VM training",
    "vm_evaluation": "VM evaluation",
    "cascade": "Cascade evaluation",
}


@dataclass(frozen=True)
class DayOfWork:
    """One piece of work: a partition, its labels, a snapshot, a side-car, a day of a VM variant or of a cascade, or a
    process's start."""

    kind: StepKind
    day: int
    """0 for a start"""
    rows: int | None
    made: Made
    who: str = ""
    """the VM's variant, a cascade's domain and last variant, or for a start what got ready (`Starting`)"""
    stages: tuple[str, ...] = ()
    """the variants of a cascade"""

    @property
    def ended(self) -> float:
        """Seconds since the Unix epoch."""
        return self.made.started + self.made.seconds

    @property
    def place(self) -> tuple[str, int]:
        """Host and process."""
        return self.made.host, self.made.process


@dataclass(frozen=True)
class KindOfWork:
    """All work of one kind."""

    kind: StepKind
    pieces: int
    days: int
    rows: int | None
    seconds: float
    """Summed over pieces; where several processes work at once it exceeds the time on the clock."""
    cpu_seconds: float | None
    """Summed over pieces; None where one does not tell."""
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

    FM training counts the rows of the day's partition; a VM's evaluation counts those that it predicted. Where several
    workers did it together, the rows count at the first of them alone.
    """
    recipe = run.recipe()
    fm = recipe.fm.name
    pieces = _stored("data", run, "days", run.days)
    rows_of_day = {piece.day: piece.rows for piece in pieces}
    counts = _stored("vocabulary", run, "vocabulary", run.vocabulary)
    pieces += [replace(count, rows=None) for count in counts]  # what it holds are ids
    pieces += _stored("feedback", run, "feedback", run.feedback)
    for snapshot in _stored("fm", run, "fm", run.snapshots_of(fm)):
        pieces.append(DayOfWork("fm", snapshot.day, rows_of_day.get(snapshot.day), snapshot.made))
    pieces += _stored("supervision", run, "supervision", run.supervision(fm))
    pieces += _trainings(run, recipe)
    for line in results.lines:
        pieces += _outcome(run, line)
    for cascade in read_cascade_lines(run):
        pieces += _cascade_outcome(run, cascade)
    pieces += [
        DayOfWork(note.what, note.day, 0, note.made, f"{note.name}, worker {note.worker}") for note in read_help(run)
    ]
    return (*starts_of(read_starts(run), pieces), *pieces)


def starts_of(starts: Sequence[Start], pieces: Sequence[DayOfWork]) -> list[DayOfWork]:
    """A process that replaces a dead one is waited for since the dead one's last piece, not since it was asked for."""
    found = []
    for start in starts:
        ready = start.made.started + start.made.seconds
        dead = {(other.made.host, other.made.process) for other in starts if other.slot == start.slot}
        dead.discard((start.made.host, start.made.process))
        begun = max([start.made.started, *(one.ended for one in pieces if one.place in dead and one.ended < ready)])
        made = start.made.model_copy(update={"started": begun, "seconds": ready - begun})
        found.append(DayOfWork("start", 0, None, made, start.what))
    return found


def _stored(kind: StepKind, run: RunDirectory, stored_as: Kind, place: Location) -> list[DayOfWork]:
    """Of a kind that may lie in a store, where it may have more days than the run needs."""
    return _pieces(kind, place, run.own_days(stored_as, committed_days(place)))


def _pieces(kind: StepKind, place: Location, days: Sequence[int], who: str = "") -> list[DayOfWork]:
    manifests = [(day, require(place.day(day))) for day in days]
    return [DayOfWork(kind, day, rows_worked_on(manifest), manifest.made, who) for day, manifest in manifests]


def _trainings(run: RunDirectory, recipe: Recipe) -> list[DayOfWork]:
    """A variant's snapshot says who trained it for a day."""
    names = [variant_name(variant.vm.name, variant.method, variant.seed) for variant in recipe.variants()]
    places = [(name, run.snapshots(name)) for name in names]
    return [one for name, place in places for one in _pieces("vm_training", place, committed_days(place), name)]


def _outcome(run: RunDirectory, line: Result) -> list[DayOfWork]:
    place = run.outcome_file(line.vm, line.method, line.seed, line.eval_day)
    if not place.is_file():
        return []
    made, name = read_outcome(place).made, variant_name(line.vm, line.method, line.seed)
    return [DayOfWork("vm_evaluation", line.eval_day, line.rows, made, name)]


def _cascade_outcome(run: RunDirectory, line: CascadeLine) -> list[DayOfWork]:
    place = run.cascade_outcome_file(line.domain, line.method, line.seed, line.eval_day)
    if not place.is_file():
        return []
    made = read_outcome(place).made
    stages = tuple(variant_name(vm, line.method, line.seed) for vm in line.vms.values())
    return [DayOfWork("cascade", line.eval_day, line.requests, made, f"domain{line.domain}-{stages[-1]}", stages)]


def totals(pieces: Iterable[DayOfWork]) -> list[KindOfWork]:
    """One row per kind of work that was recorded; what started is no work."""
    by_kind: dict[StepKind, list[DayOfWork]] = {kind: [] for kind in STEP_KINDS}
    for piece in pieces:
        by_kind[piece.kind].append(piece)
    return [_total(kind, members) for kind, members in by_kind.items() if members and kind != "start"]


def _total(kind: StepKind, pieces: list[DayOfWork]) -> KindOfWork:
    known = [piece.rows for piece in pieces if piece.rows is not None]
    cpu = [piece.made.cpu_seconds for piece in pieces if piece.made.cpu_seconds is not None]
    return KindOfWork(
        kind=kind,
        pieces=len(pieces),
        days=len({piece.day for piece in pieces}),
        rows=sum(known) if len(known) == len(pieces) else None,
        seconds=sum(piece.made.seconds for piece in pieces),
        cpu_seconds=sum(cpu) if len(cpu) == len(pieces) else None,
        clock_seconds=max(piece.ended for piece in pieces) - min(piece.made.started for piece in pieces),
        hosts=tuple(sorted({piece.made.host for piece in pieces})),
        processes=len({piece.place for piece in pieces}),
    )


LANES: dict[str, str] = {
    "ray": "Ray",
    "fm": STEP_KINDS["fm"],
    "fleet": "VMs",
    "serve": STEP_KINDS["supervision"],
    "vm_training": "VMs",
    "vm_evaluation": "VMs",
}
"""by what started or by kind; what is not there has a lane of its kind's name"""
LANE_ORDER = list(dict.fromkeys(["Ray", *(LANES.get(kind, name) for kind, name in STEP_KINDS.items())]))


def lane_of(piece: DayOfWork) -> str:
    """What the process did that the piece belongs to, in words."""
    return LANES.get(piece.who if piece.kind == "start" else piece.kind, STEP_KINDS[piece.kind])


@dataclass(frozen=True)
class Span:
    """A bar of the timeline: what one process did for one day, or its start."""

    kind: StepKind
    lane: str
    day: int
    pieces: int
    started: float
    ended: float


def timeline(pieces: Iterable[DayOfWork]) -> list[Span]:
    """Bars by lane, in the order of the steps, and start; the pieces of one kind, process and day are one bar."""
    groups: dict[tuple[StepKind, str, str, int, int], list[DayOfWork]] = {}
    for piece in pieces:
        key = piece.kind, lane_of(piece), piece.made.host, piece.made.process, piece.day
        groups.setdefault(key, []).append(piece)
    spans = []
    for (kind, lane, host, process, day), members in groups.items():
        start, end = min(member.made.started for member in members), max(member.ended for member in members)
        spans.append((lane, Span(kind, f"{lane}, {host}:{process}", day, len(members), start, end)))
    spans.sort(key=lambda of_lane: (LANE_ORDER.index(of_lane[0]), of_lane[1].lane, of_lane[1].started))
    return [span for _, span in spans]
