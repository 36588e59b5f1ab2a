"""What a run took from a store that others had made before it began."""

from collections.abc import Iterable, Sequence

from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.report.wording import counted, duration
from exfm_ray.report.work import DayOfWork, StepKind

STORED: tuple[StepKind, ...] = ("data", "vocabulary", "feedback", "fm", "supervision")


def split_reused(run: RunDirectory, pieces: Iterable[DayOfWork]) -> tuple[tuple[DayOfWork, ...], tuple[DayOfWork, ...]]:
    """A run's own work, and that which was there in the store when it began.

    What another run made in the store while this one ran is counted as own work: this run waited for it.
    """
    stored, known = run.stored, tuple(pieces)
    if stored is None:
        return known, ()
    own = tuple(piece for piece in known if piece.kind not in STORED or piece.made.started >= stored.begun)
    return own, tuple(piece for piece in known if piece not in own)


def reuse_sentence(run: RunDirectory, reused: Sequence[DayOfWork]) -> str | None:
    """How much that was; None without a store."""
    stored = run.stored
    if stored is None:
        return None
    if not reused:
        return f"Nothing of this run was in the store {stored.store} before."
    rows, seconds = sum(piece.rows or 0 for piece in reused), sum(piece.made.seconds for piece in reused)
    return (
        f"Taken from the store {stored.store}, where others had made it before this run began: "
        f"{counted(len(reused), 'piece')} of work over {rows:,} rows, which took those who made them "
        f"{duration(seconds)}. This work is not on the timeline."
    )
