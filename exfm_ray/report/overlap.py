"""How well the work of a run overlapped: its time beside its critical path, and how idle its resources were."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from exfm_ray.config import Recipe
from exfm_ray.report.critical_path import critical_path
from exfm_ray.report.sessions import Session
from exfm_ray.report.work import LANE_ORDER, DayOfWork, StepKind, lane_of

Part = Literal["days", "fm", "supervision", "vms", "cascades", "start"]
PARTS: dict[StepKind, Part] = {
    "start": "start",
    "data": "days",
    "vocabulary": "days",
    "feedback": "days",
    "fm": "fm",
    "supervision": "supervision",
    "vm_training": "vms",
    "vm_evaluation": "vms",
    "cascade": "cascades",
}


@dataclass(frozen=True)
class Lane:
    """What one process did of one thing."""

    what: str
    host: str
    process: int
    starting: float
    """seconds from being asked for to being ready"""
    working: float
    """seconds on the clock"""
    wall: float
    """seconds of all sessions in which it appears"""

    @property
    def idle(self) -> float:
        """Share of the wall in which it neither started nor worked, in [0, 1]."""
        return max(0.0, 1 - (self.starting + self.working) / self.wall)


@dataclass(frozen=True)
class Host:
    """The processors of one machine."""

    name: str
    cpus: int
    busy: float
    """CPU seconds of the run's pieces; on the clock where a piece does not tell them"""
    wall: float

    @property
    def idle(self) -> float:
        """Share of all its CPUs' time that no piece of the run used, in [0, 1]."""
        return max(0.0, 1 - self.busy / (self.cpus * self.wall))


@dataclass(frozen=True)
class Overlap:
    """Of a whole run; seconds between the commands that continued it count nowhere."""

    commands: int
    wall: float
    """seconds on the clock, summed over the commands"""
    paused: float
    """seconds between the commands"""
    path: float
    """seconds of the critical path"""
    path_by_part: dict[Part, float]
    """likewise, longest first"""
    work_by_part: dict[Part, float]
    """CPU seconds, most first; start-up is not among them, for it would not grow with the work"""
    lanes: tuple[Lane, ...]
    hosts: tuple[Host, ...]

    @property
    def ratio(self) -> float:
        """Wall ÷ critical path, at least 1."""
        return self.wall / self.path

    @property
    def fm_share(self) -> float:
        """Of the FM chain in the critical path, in [0, 1]."""
        return self.path_by_part.get("fm", 0.0) / self.path

    @property
    def cpus(self) -> int:
        return sum(host.cpus for host in self.hosts)

    @property
    def least_for_work(self) -> float:
        """Seconds that all CPUs together need for the work, were they never idle."""
        return sum(self.work_by_part.values()) / self.cpus

    @property
    def is_bound_by_path(self) -> bool:
        """Or by the amount of work for so few CPUs, where they need longer than the critical path."""
        return self.path >= self.least_for_work


def overlap(found: Sequence[Session], recipe: Recipe) -> Overlap | None:
    """None where nothing was recorded."""
    path = critical_path(found, recipe)
    if path.seconds <= 0:
        return None
    pieces = [piece for session in found for piece in session.pieces]
    return Overlap(
        commands=len(found),
        wall=sum(session.seconds for session in found),
        paused=sum(max(0.0, after.started - before.ended) for before, after in pairwise(found)),
        path=path.seconds,
        path_by_part=_by_part((piece, piece.made.seconds) for piece in path.pieces),
        work_by_part=_by_part((piece, cpu_seconds(piece)) for piece in pieces if piece.kind != "start"),
        lanes=tuple(_lanes(found)),
        hosts=tuple(_hosts(found)),
    )


def cpu_seconds(piece: DayOfWork) -> float:
    """As measured; where nobody did, the time on the clock of work, and nothing for what was only waited for."""
    if piece.made.cpu_seconds is not None:
        return piece.made.cpu_seconds
    return 0.0 if piece.kind == "start" else piece.made.seconds


def _by_part(seconds: Iterable[tuple[DayOfWork, float]]) -> dict[Part, float]:
    sums: dict[Part, float] = {}
    for piece, value in seconds:
        sums[PARTS[piece.kind]] = sums.get(PARTS[piece.kind], 0.0) + value
    return dict(sorted(sums.items(), key=lambda part: -part[1]))


def _lanes(found: Sequence[Session]) -> list[Lane]:
    """By what they do, host and process."""
    keys = sorted(
        {(lane_of(piece), *piece.place) for session in found for piece in session.pieces},
        key=lambda key: (LANE_ORDER.index(key[0]), *key[1:]),
    )
    return [_lane(found, *key) for key in keys]


def _lane(found: Sequence[Session], what: str, host: str, process: int) -> Lane:
    starting = working = wall = 0.0
    for session in found:
        own = [piece for piece in session.pieces if (lane_of(piece), *piece.place) == (what, host, process)]
        if own:
            wall += session.seconds
            starting += covered(piece for piece in own if piece.kind == "start")
            working += covered(piece for piece in own if piece.kind != "start")
    return Lane(what, host, process, starting, working, wall)


def covered(pieces: Iterable[DayOfWork]) -> float:
    """Seconds in which at least one of the pieces was under way."""
    seconds, until = 0.0, float("-inf")
    for piece in sorted(pieces, key=lambda piece: piece.made.started):
        seconds += max(0.0, piece.ended - max(piece.made.started, until))
        until = max(until, piece.ended)
    return seconds


def _hosts(found: Sequence[Session]) -> list[Host]:
    """Hosts that made something; how many CPUs one has, its pieces say."""
    names = sorted({piece.made.host for session in found for piece in session.pieces})
    hosts = []
    for name in names:
        there = [
            (session, [piece for piece in session.pieces if piece.made.host == name])
            for session in found
            if any(piece.made.host == name for piece in session.pieces)
        ]
        own = [piece for _, pieces in there for piece in pieces]
        cpus = max((piece.made.cpus or 1 for piece in own), default=1)
        wall = sum(session.seconds for session, _ in there)
        hosts.append(Host(name, cpus, sum(map(cpu_seconds, own)), wall))
    return hosts
