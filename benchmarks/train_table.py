"""The figures of benchmarks/train.py on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from train_sides import Comparison


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """A table for each measure; a ratio above 1 means that ours is better."""
    console = Console()
    for measure in dict.fromkeys(measure_and_subject(row)[0] for row in rows):
        chosen = [row for row in rows if measure_and_subject(row)[0] == measure]
        table = Table(title=f"{measure} ({chosen[0]['unit']})", title_justify="left")
        table.add_column("")
        for name in ("ours", "theirs", "ratio"):
            table.add_column(name, justify="right")
        for row in chosen:
            subject = measure_and_subject(row)[1]
            table.add_row(subject, f"{row['ours']:,}", f"{row['theirs']:,}", f"{row['ratio']:.2f}")
        console.print(table)


def measure_and_subject(row: Mapping[str, Any]) -> tuple[str, str]:
    """What was measured, and of what."""
    measure, _, subject = row["what"].partition(", ")
    return measure, subject


def print_stages(title: str, comparison: Comparison) -> None:
    """CPU milliseconds of a step by stage, of one step measured stage by stage on each side."""
    assert comparison.stages is not None
    for side, stages in zip(("ours", "theirs"), comparison.stages, strict=True):
        listed = ", ".join(f"{stage} {seconds * 1e3:.0f}" for stage, seconds in stages.items())
        print(f"{title}: CPU ms per step, {side}: {listed}", flush=True)
