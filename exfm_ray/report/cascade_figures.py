"""Bars by stage and method: what an FM gives each stage of a cascade, and what is shown in the end."""

from collections.abc import Callable

import plotly.graph_objects as go

from exfm_ray.cascade.plan import STAGES
from exfm_ray.report.cascade import CascadeReport, Gain, StageRow
from exfm_ray.report.figures import FM_COLOUR, METHOD_COLOURS, Drawing, drawing, new_figure


def cascade_drawings(report: CascadeReport) -> list[Drawing]:
    """NE gain and recall gain by stage, where a method was taught, and the value of what is shown."""
    found = []
    name = f"domain {report.domain}"
    if len(report.methods) > 1 and "none" in report.methods:
        for kind, title, gain_of in (
            ("ne", "NE gain over none, %", _ne_gain),
            ("recall", "recall gain over none, points", _recall_gain),
        ):
            figure = _gains(report, title, gain_of)
            found.append(drawing(f"cascade-{kind}-{report.domain}", f"{name}: {title}", figure))
    found.append(drawing(f"cascade-value-{report.domain}", f"{name}: value of what is shown", _values(report)))
    return found


def _ne_gain(row: StageRow) -> Gain | None:
    return row.ne_gain


def _recall_gain(row: StageRow) -> Gain | None:
    return row.recall_gain


def _gains(report: CascadeReport, title: str, gain_of: Callable[[StageRow], Gain | None]) -> go.Figure:
    figure = new_figure("stage", title)
    figure.update_layout(barmode="group")
    figure.add_hline(y=0, line={"color": METHOD_COLOURS["none"], "width": 1.5, "dash": "dot"})
    for method in report.methods:
        gains = [gain_of(report.of_stage(stage, method)) for stage in STAGES] if method != "none" else []
        if any(gains):
            figure.add_trace(
                go.Bar(
                    name=method,
                    x=list(STAGES),
                    y=[None if of is None else of.mean for of in gains],
                    error_y={"type": "data", "array": [0 if of is None or of.sd is None else of.sd for of in gains]},
                    marker={"color": METHOD_COLOURS[method]},
                    hovertemplate=f"%{{x}}: %{{y:+.2f}}<extra>{method}</extra>",
                )
            )
    return figure


def _values(report: CascadeReport) -> go.Figure:
    figure = new_figure("", "share of the best possible", height=300)
    bars = [("random", report.value_random, METHOD_COLOURS["none"])]
    bars += [(row.method, row.value, METHOD_COLOURS[row.method]) for row in report.values]
    if report.value_fm.mean is not None:
        bars.append(("FM on all", report.value_fm, FM_COLOUR))
    figure.add_trace(
        go.Bar(
            x=[name for name, _, _ in bars],
            y=[value.mean for _, value, _ in bars],
            error_y={"type": "data", "array": [value.sd or 0 for _, value, _ in bars]},
            marker={"color": [colour for _, _, colour in bars]},
            hovertemplate="%{x}: %{y:.3f}<extra></extra>",
        )
    )
    return figure
