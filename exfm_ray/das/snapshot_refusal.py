"""When a snapshot that could not be read is tried again."""

from dataclasses import dataclass

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""twice as long each time, since each try may read much"""


@dataclass(frozen=True)
class SnapshotRefusal:
    """A snapshot that could not be read."""

    snapshot_day: int
    problem: str
    pause_seconds: float
    again_at: float
    """seconds, of the clock that it was refused by"""

    @classmethod
    def after(cls, before: "SnapshotRefusal | None", snapshot_day: int, problem: str, now: float) -> "SnapshotRefusal":
        """The next one.

        Args:
            before: of the same snapshot; None for its first.
        """
        pause = min(2 * before.pause_seconds, LONGEST_PAUSE_SECONDS) if before else FIRST_PAUSE_SECONDS
        return cls(snapshot_day, problem, pause, now + pause)

    def is_fresh(self, now: float) -> bool:
        """Whether it is too early to try again; never after a clock was set back to before the refusal."""
        return self.again_at - self.pause_seconds <= now < self.again_at
