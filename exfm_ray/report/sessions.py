"""The time that commands worked on a run, and which pieces of work fall into it."""

from collections.abc import Sequence
from dataclasses import dataclass

from exfm_ray.data.run_clock import Command
from exfm_ray.report.work import DayOfWork


@dataclass(frozen=True)
class Session:
    """What one command did; a run that was interrupted and continued has several."""

    started: float
    """seconds since the Unix epoch"""
    ended: float
    pieces: tuple[DayOfWork, ...]

    @property
    def seconds(self) -> float:
        """On the clock."""
        return self.ended - self.started


def sessions(commands: Sequence[Command], pieces: Sequence[DayOfWork]) -> list[Session]:
    """Pieces by the command under which they started; what was made before the first one is in none.

    A command that was killed ended when its last piece did. Where no command was noted, all pieces are one session.

    Args:
        commands: in the order of their start.
    """
    if not pieces:
        return []
    if not commands:
        start, end = min(piece.made.started for piece in pieces), max(piece.ended for piece in pieces)
        return [Session(start, end, tuple(pieces))]
    found = []
    for command, after in zip(commands, [*commands[1:], None], strict=True):
        until = after.started if after is not None else float("inf")
        own = tuple(piece for piece in pieces if command.started <= piece.made.started < until)
        ended = command.ended or max([command.started, *(piece.ended for piece in own)])
        found.append(Session(command.started, min(ended, until), own))
    return [session for session in found if session.seconds > 0]
