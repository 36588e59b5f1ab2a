"""The ratios of benchmarks/train.py as a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from train_table import measure_and_subject


def write_figure(place: Path, rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> None:
    """One HTML file that needs nothing else: a bar per figure, grouped by what was measured, on a logarithmic axis.

    Args:
        machine: as `describe_machine` tells it.
    """
    figure = go.Figure()
    for measure in dict.fromkeys(measure_and_subject(row)[0] for row in rows):
        chosen = [row for row in rows if measure_and_subject(row)[0] == measure]
        figure.add_bar(
            name=measure,
            orientation="h",
            x=[row["ratio"] for row in chosen],
            y=[measure_and_subject(row)[1] for row in chosen],
            text=[f"{row['ratio']:.2f}" for row in chosen],
            customdata=[(row["ours"], row["theirs"], row["unit"]) for row in chosen],
            hovertemplate="ours %{customdata[0]:,}, theirs %{customdata[1]:,} %{customdata[2]}<extra>%{y}</extra>",
        )
    figure.add_vline(x=1, line_dash="dot")
    subjects = len({measure_and_subject(row)[1] for row in rows})
    figure.update_layout(
        title=f"Training throughput: ours ÷ theirs ({machine['cpu']}, {machine['cores']} cores)",
        xaxis={"title": "ratio, above 1 ours is better", "type": "log"},
        yaxis={"autorange": "reversed", "automargin": True},
        height=max(400, 160 + 60 * subjects),
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0},
    )
    figure.write_html(place, include_plotlyjs=True)
