"""The figures of benchmarks/train.py on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from train_sides import Comparison


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """One line per figure; a ratio above 1 means that ours is better."""
    table = Table(title="ratio above 1: ours is better", title_justify="left")
    table.add_column("what", overflow="fold")
    for name in ("ours", "theirs", "unit", "ratio"):
        table.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
    for row in rows:
        table.add_row(row["what"], f"{row['ours']:,}", f"{row['theirs']:,}", row["unit"], f"{row['ratio']:.2f}")
    Console().print(table)


def print_stages(title: str, comparison: Comparison) -> None:
    """CPU milliseconds of a step by stage, of one step measured stage by stage on each side."""
    assert comparison.stages is not None
    for side, stages in zip(("ours", "theirs"), comparison.stages, strict=True):
        listed = ", ".join(f"{stage} {seconds * 1e3:.0f}" for stage, seconds in stages.items())
        print(f"{title}: CPU ms per step, {side}: {listed}", flush=True)
