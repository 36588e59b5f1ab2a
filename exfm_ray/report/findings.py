"""What a theorem's page is made of, and the lines over the seeds that its figures draw."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from exfm_ray.report.figures import INK, Drawing


@dataclass(frozen=True)
class Table:
    """Cells as text, row by row."""

    note: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Findings:
    """What a theorem's page is made of."""

    sentence: str
    findings: list[str]
    drawings: list[Drawing]
    table: Table


@dataclass(frozen=True)
class Curve:
    """One value per x and seed."""

    name: str
    colour: str
    x: Sequence[float]
    values: Sequence[Sequence[float]]
    """By seed, one per x."""


def draw_curve(figure: go.Figure, curve: Curve) -> None:
    """The mean over the seeds, on a band from the lowest seed to the highest."""
    columns = list(zip(*curve.values, strict=True))
    means = [sum(column) / len(column) for column in columns]
    low, high = [min(column) for column in columns], [max(column) for column in columns]
    figure.add_trace(
        go.Scatter(
            x=[*curve.x, *reversed(curve.x)],
            y=[*high, *reversed(low)],
            fill="toself",
            mode="lines",
            line={"width": 0, "color": curve.colour},
            opacity=0.22,
            legendgroup=curve.name,
            showlegend=False,
            hoverinfo="skip",
        )
    )
    line = {"color": curve.colour, "width": 2}
    figure.add_trace(go.Scatter(x=curve.x, y=means, name=curve.name, legendgroup=curve.name, mode="lines", line=line))


def draw_predicted(figure: go.Figure, name: str, x: Sequence[float], y: Sequence[float]) -> None:
    """A dotted line."""
    line = {"color": INK, "width": 1.5, "dash": "dot"}
    figure.add_trace(go.Scatter(x=x, y=y, name=name, mode="lines", line=line))
