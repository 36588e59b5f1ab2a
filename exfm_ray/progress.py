"""The live display of a run or of a preparation.

It reads what is committed, so it shows what would survive if everything died now.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from exfm_ray.data.commit import committed, rows_worked_on
from exfm_ray.data.location import Location
from exfm_ray.data.prepare import WORK
from exfm_ray.data.source import DaySource, StagedSource, piece_directory
from exfm_ray.waits import Wait, current_waits

POLL_SECONDS = 0.5
LINE_SECONDS = 5.0
"""between two lines of one phase where there is no terminal"""
WORTH_TELLING_SECONDS = 5.0
"""of waiting, on a terminal"""
WAITS_LINE_SECONDS = 60.0
"""of waiting, where there is no terminal, and between two lines about it"""
PIECES_AT_ONCE = 512
"""Pieces are made nearly in order, so that those beyond the next so many need no look."""


@dataclass
class Phase:
    """One kind of step: which things it has to commit, and how many rows each has."""

    name: str
    unit: str
    places: list[Location]
    rows_of: Callable[[Location], int | None]
    """rows of a committed thing, None while it is not committed"""
    after: "Phase | None" = None
    """which must be complete before this one begins; None: it begins at once"""
    looked_at: int | None = None
    """how many places that have nothing yet are looked at; None: all"""
    done: dict[str, int] = field(default_factory=dict)
    before: int = 0
    """things that an earlier command committed"""
    started: float = field(default_factory=time.monotonic)
    """on the monotonic clock, when it began or, while it has not, when it was last looked at"""

    @property
    def is_complete(self) -> bool:
        return len(self.done) == len(self.places)

    @property
    def has_begun(self) -> bool:
        return self.after is None or self.after.is_complete

    def begin(self) -> None:
        """Read what earlier commands have committed."""
        self._read()
        self.before, self.started = len(self.done), time.monotonic()

    def look(self) -> bool:
        """Read what is new; True where something is."""
        if not self.has_begun:
            self.started = time.monotonic()
        if is_new := self._read():
            self._end_before()
        return is_new

    def _read(self) -> bool:
        seen, nothing = len(self.done), 0
        for place in self.places:
            if place.uri in self.done:
                continue
            if (rows := self.rows_of(place)) is not None:
                self.done[place.uri] = rows
            elif (nothing := nothing + 1) == self.looked_at:
                break
        return len(self.done) > seen

    def _end_before(self) -> None:
        """What it comes after is complete, though what that made may have been deleted unseen."""
        if self.after is not None:
            for place in self.after.places:
                self.after.done.setdefault(place.uri, 0)
            self.after._end_before()

    def rows_per_second(self) -> float:
        """Of what this command has committed."""
        rows = list(self.done.values())[self.before :]
        return sum(rows) / max(time.monotonic() - self.started, 1e-9)

    def speed(self) -> str:
        """In words; nothing where what is made has no rows."""
        return f"{speed:,.0f} rows/s" if (speed := self.rows_per_second()) else ""

    def line(self) -> str:
        """How far it is, how fast, and how long it will take."""
        done, total = len(self.done), len(self.places)
        left = (time.monotonic() - self.started) / max(done - self.before, 1) * (total - done)
        told = [f"{self.name}: {done}/{total} {self.unit}", self.speed(), f"about {left:.0f} s left"]
        return f"{time.strftime('%H:%M:%S')} {', '.join(filter(None, told))}"


def day_phases(source: DaySource, dataset: Location, work: Location | None = None) -> list[Phase]:
    """All that a preparation has to commit: the pieces of each stage, where days are still missing, and the days.

    Args:
        work: where the stages make them; left out: beside the days.
    """
    days = Phase("prepare days", "days", [dataset.day(day) for day in range(1, source.days + 1)], manifest_rows)
    days.begin()
    if days.is_complete or not isinstance(source, StagedSource):
        return [days]
    found: list[Phase] = []
    stages = source.stages()
    for number, stage in enumerate(stages, start=1):
        pieces = [piece_directory(work or dataset / WORK, stage.name, piece) for piece in range(stage.pieces)]
        name, before = f"stage {number} of {len(stages)} ({stage.word})", found[-1] if found else None
        found.append(Phase(name, "pieces", pieces, manifest_rows, before, PIECES_AT_ONCE))
    days.after = found[-1] if found else None
    return [*found, days]


def manifest_rows(place: Location) -> int | None:
    """Of a committed directory; None while it is not committed."""
    manifest = committed(place)
    return rows_worked_on(manifest) if manifest is not None else None


@contextmanager
def watching(shown: Sequence[Phase], console: Console) -> Iterator[None]:
    """Show progress for the time of the block: bars on a terminal, plain lines elsewhere."""
    for phase in shown:
        phase.begin()
    stop = threading.Event()
    show = _bars if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(shown, console, stop), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _bars(shown: Sequence[Phase], console: Console, stop: threading.Event) -> None:
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]:<8}{task.fields[speed]:>16}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with _Bars(*columns, console=console, transient=False) as progress:
        tasks = {
            progress.add_task(
                phase.name,
                start=phase.has_begun,
                total=len(phase.places),
                completed=phase.before,
                unit=phase.unit,
                speed="",
            ): phase
            for phase in shown
        }
        while True:
            last = stop.wait(POLL_SECONDS)
            news = {task: phase.look() for task, phase in tasks.items()}
            for task, phase in tasks.items():
                if phase.has_begun and progress.tasks[task].start_time is None:
                    progress.start_task(task)
                if news[task] or len(phase.done) > progress.tasks[task].completed:
                    progress.update(task, completed=len(phase.done), speed=phase.speed())
            if last:
                return


class _Bars(Progress):
    """Bars, and below them what is waited for."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        yield from (Text(f"waits {wait.seconds:.0f} s for {wait.what}") for wait in long_waits(WORTH_TELLING_SECONDS))


def long_waits(seconds: float) -> list[Wait]:
    """What has been waited for longer than this, the longest first."""
    return [wait for wait in current_waits() if wait.seconds >= seconds]


def waits_line(waits: Sequence[Wait]) -> str:
    """What is waited for, in one line."""
    told = "; ".join(f"{wait.seconds:.0f} s for {wait.what}" for wait in waits)
    return f"{time.strftime('%H:%M:%S')} waits {told}"


def _lines(shown: Sequence[Phase], console: Console, stop: threading.Event) -> None:
    told = [len(phase.done) for phase in shown]
    when = [-LINE_SECONDS] * len(shown)
    waits_told = time.monotonic()
    while True:
        last = stop.wait(POLL_SECONDS)
        for phase in shown:
            phase.look()
        now = time.monotonic()
        for index, phase in enumerate(shown):
            is_due = last or phase.is_complete or now - when[index] >= LINE_SECONDS
            if len(phase.done) > told[index] and is_due:
                console.print(phase.line(), highlight=False, soft_wrap=True)
                told[index], when[index] = len(phase.done), now
        if now - waits_told >= WAITS_LINE_SECONDS and (waits := long_waits(WAITS_LINE_SECONDS)):
            console.print(waits_line(waits), highlight=False, soft_wrap=True, markup=False)
            waits_told = now
        if last:
            return
