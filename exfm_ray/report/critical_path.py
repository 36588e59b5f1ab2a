"""The longest chain of pieces of work of which each needed the one before it.

    D(t) → FM(t) → supervision of D(t + 1 + staleness) → VMs on D(t + 1 + staleness), each of which goes on from its
    own day before, as the FM does.

However many processes share the work, a run that does its pieces at this speed takes that long.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from exfm_ray.config import Recipe
from exfm_ray.report.sessions import Session
from exfm_ray.report.work import DayOfWork, StepKind

Key = tuple[StepKind, str, int]


@dataclass(frozen=True)
class CriticalPath:
    """The pieces of the chain in their order."""

    pieces: tuple[DayOfWork, ...]

    @property
    def seconds(self) -> float:
        return sum(piece.made.seconds for piece in self.pieces)


def critical_path(found: Iterable[Session], recipe: Recipe) -> CriticalPath:
    """The longest chain of each session, one after the other; what an earlier one committed is waited for no more."""
    return CriticalPath(tuple(piece for session in found for piece in _longest_chain(session.pieces, recipe)))


def _longest_chain(pieces: Sequence[DayOfWork], recipe: Recipe) -> list[DayOfWork]:
    by_key = {_key(piece): piece for piece in pieces if piece.kind != "start"}
    starts = [piece for piece in pieces if piece.kind == "start"]
    needs: dict[int, list[DayOfWork]] = {}
    for piece in pieces:
        before = [by_key[key] for key in needed(piece, recipe) if key in by_key]
        needs[id(piece)] = before + _starts_before(piece, starts)
    by_id = {id(piece): piece for piece in pieces}
    order = TopologicalSorter({name: [id(piece) for piece in before] for name, before in needs.items()})
    ends: dict[int, float] = {}
    for name in order.static_order():
        ends[name] = by_id[name].made.seconds + max((ends[id(piece)] for piece in needs[name]), default=0.0)
    chain: list[DayOfWork] = []
    last = max(pieces, key=lambda piece: ends[id(piece)], default=None)
    while last is not None:
        chain.append(last)
        last = max(needs[id(last)], key=lambda piece: ends[id(piece)], default=None)
    return chain[::-1]


def needed(piece: DayOfWork, recipe: Recipe) -> list[Key]:
    """Which work a piece had to wait for, as far as the recipe says; not all of that exists."""
    day, who = piece.day, piece.who
    read: list[Key] = [("data", "", day)]
    labelled: list[Key] = [*read, ("feedback", "", day)]
    counted: list[Key] = [("vocabulary", "", recipe.vocabulary_day(day))] if recipe.vocabulary is not None else []
    match piece.kind:
        case "start" | "data":
            return []
        case "feedback":
            return read
        case "vocabulary":
            return [*read, ("vocabulary", "", day - 1)]
        case "fm":
            return [*labelled, *counted, ("fm", "", day - 1)]
        case "supervision":
            return [*read, ("fm", "", recipe.supervising_snapshot(day))]
        case "vm_evaluation":
            return [("supervision", "", day), ("vm_training", who, day - 1)]
        case "vm_training":
            before: list[Key] = [("vm_training", who, day - 1), ("vm_evaluation", who, day)]
            return [*labelled, *counted, ("supervision", "", day), *before]
        case "cascade":
            return [*read, *(("vm_training", stage, day - 1) for stage in piece.stages)]


def _key(piece: DayOfWork) -> Key:
    return piece.kind, piece.who, piece.day


STARTED_FOR: dict[StepKind, tuple[str, ...]] = {
    "fm": ("fm",),
    "supervision": ("serve",),
    "vm_evaluation": ("fleet",),
    "vm_training": ("fleet",),
}
"""what must have got ready in the same process for a kind of work"""


ROUNDING = 0.01
"""seconds by which what came first may seem to have ended late"""


def _starts_before(piece: DayOfWork, starts: Sequence[DayOfWork]) -> list[DayOfWork]:
    """The last start that the piece had to wait for."""
    if piece.kind == "start":
        wanted = [start for start in starts if start.who == "ray" and piece.who != "ray"]
    else:
        whats = STARTED_FOR.get(piece.kind, ())
        wanted = [start for start in starts if start.who in whats and start.place == piece.place]
    ready = [start for start in wanted if start.ended <= piece.made.started + ROUNDING]
    return sorted(ready, key=lambda start: start.ended)[-1:]
