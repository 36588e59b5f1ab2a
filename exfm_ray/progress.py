"""The live display of a run. It reads what is committed, so it shows what would survive if everything died now."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from exfm_ray.data.commit import committed, rows_worked_on
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import Outcome

POLL_SECONDS = 0.5


@dataclass
class Phase:
    """One kind of step: which things it has to commit, and how many rows each has."""

    name: str
    unit: str
    places: list[Location]
    rows_of: Callable[[Location], int | None]
    """rows of a committed thing, None while it is not committed"""
    done: dict[str, int] = field(default_factory=dict)
    before: int = 0
    """things that an earlier command committed"""
    started: float = field(default_factory=time.monotonic)

    def look(self) -> bool:
        """Read what is new; True where something is."""
        seen = len(self.done)
        for place in self.places:
            if place.uri not in self.done and (rows := self.rows_of(place)) is not None:
                self.done[place.uri] = rows
        return len(self.done) > seen

    def rows_per_second(self) -> float:
        """Of what this command has committed."""
        rows = list(self.done.values())[self.before :]
        return sum(rows) / max(time.monotonic() - self.started, 1e-9)


def phases(experiment: Experiment, *, preparing: bool) -> list[Phase]:
    """All that a run has to commit, in the order of the picture."""
    days = [Location(experiment.dataset).day(day) for day in range(1, experiment.days + 1)] if preparing else []
    vocabularies = [experiment.vocabulary.day(day) for day in experiment.counted_days]
    feedback = [experiment.run.feedback.day(day) for day in experiment.joined_days]
    fm = [experiment.snapshots.day(day) for day in experiment.fm_days]
    supervision = [experiment.supervision(day) for day in experiment.supervised_days]
    found = [
        Phase("prepare days", "days", days, _manifest_rows),
        Phase("count the vocabularies", "days", vocabularies, _manifest_rows),
        Phase("join the feedback", "days", feedback, _manifest_rows),
        Phase("train the FM", "days", fm, _manifest_rows),
        Phase("supervise", "days", supervision, _manifest_rows),
        Phase("train and evaluate VMs", "VM days", experiment.outcome_files(), _outcome_rows),
    ]
    return [phase for phase in found if phase.places]


def _manifest_rows(place: Location) -> int | None:
    manifest = committed(place)
    return rows_worked_on(manifest) if manifest is not None else None


def _outcome_rows(place: Location) -> int | None:
    return int(Outcome.model_validate_json(place.read()).line["rows"]) if place.is_file() else None


@contextmanager
def watching(experiment: Experiment, console: Console, *, preparing: bool) -> Iterator[None]:
    """Show progress for the time of the block: bars on a terminal, plain lines elsewhere."""
    shown = phases(experiment, preparing=preparing)
    for phase in shown:
        phase.look()
        phase.before = len(phase.done)
    stop = threading.Event()
    show = _bars if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(shown, console, stop), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _bars(shown: list[Phase], console: Console, stop: threading.Event) -> None:
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]:<8}{task.fields[speed]:>16}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=False) as progress:
        tasks = [
            progress.add_task(phase.name, total=len(phase.places), completed=phase.before, unit=phase.unit, speed="")
            for phase in shown
        ]
        while True:
            last = stop.wait(POLL_SECONDS)
            for phase, task in zip(shown, tasks, strict=True):
                if phase.look():
                    speed = f"{phase.rows_per_second():,.0f} rows/s"
                    progress.update(task, completed=len(phase.done), speed=speed)
            if last:
                return


def _lines(shown: list[Phase], console: Console, stop: threading.Event) -> None:
    while True:
        last = stop.wait(POLL_SECONDS)
        for phase in shown:
            if phase.look():
                console.print(_line(phase), highlight=False, soft_wrap=True)
        if last:
            return


def _line(phase: Phase) -> str:
    done, total = len(phase.done), len(phase.places)
    elapsed = time.monotonic() - phase.started
    left = elapsed / max(done - phase.before, 1) * (total - done)
    return (
        f"{time.strftime('%H:%M:%S')} {phase.name}: {done}/{total} {phase.unit}, "
        f"{phase.rows_per_second():,.0f} rows/s, about {left:.0f} s left"
    )
