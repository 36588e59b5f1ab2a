"""Plotly figures, as JSON that stands safely inside an HTML script element."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from exfm_ray.report.results import Results, Series
from exfm_ray.report.statistics import percent_changes, summarise
from exfm_ray.report.work import STEP_KINDS, Span, StepKind
from exfm_ray.schema import Method

METHOD_COLOURS: dict[Method, str] = {"none": "#7a7f87", "kd": "#e69f00", "ah": "#1a7fc4", "ah_sa": "#009e73"}
"""Hues that colour-blind readers tell apart (Okabe and Ito 2008), for light and dark; marker and dash serve in grey."""
METHOD_MARKERS: dict[Method, str] = {"none": "circle", "kd": "square", "ah": "diamond", "ah_sa": "triangle-up"}
METHOD_DASHES: dict[Method, str] = {"none": "dot", "kd": "dash", "ah": "dashdot", "ah_sa": "solid"}
FM_COLOUR = "#cc79a7"
ORACLE_COLOUR = "#d55e00"
KIND_COLOURS: dict[StepKind, str] = {
    "start": "#d6d9dd",
    "data": "#a7adb5",
    "vocabulary": "#0072b2",
    "feedback": "#009e73",
    "fm": "#cc79a7",
    "supervision": "#e69f00",
    "vm_training": "#56b4e9",
    "vm_evaluation": "#f0e442",
    "cascade": "#d55e00",
}
INK = "#33383f"
"""The page's style sheet paints text and grid for dark screens."""


@dataclass(frozen=True)
class Drawing:
    """A figure and where it stands in the page."""

    identity: str
    title: str
    """Plain text; the page escapes it."""
    figure: str
    """JSON without <, > and &, so that no text in it can end the script element that holds it."""


def vm_drawings(results: Results) -> dict[str, list[Drawing]]:
    """NE, its change against `none`, and calibration by day: one small figure per VM each."""
    drawings: dict[str, list[Drawing]] = {"ne": [], "change": [], "calibration": []}
    for place, vm in enumerate(results.vms):
        drawings["ne"].append(drawing(f"ne-{place}", vm, _ne_figure(results, vm)))
        drawings["calibration"].append(drawing(f"calibration-{place}", vm, _calibration_figure(results, vm)))
        changes = _changes(results, vm)
        if any(changes.values()):
            drawings["change"].append(drawing(f"change-{place}", vm, _change_figure(results, changes)))
    return drawings


def timeline_drawing(spans: Sequence[Span]) -> Drawing:
    """Which process worked on which day when."""
    origin = min(span.started for span in spans)
    end = max(span.ended for span in spans)
    unit, seconds = ("minutes", 60) if end - origin > 600 else ("seconds", 1)
    lanes = list(dict.fromkeys(span.lane for span in spans))
    figure = new_figure(f"{unit} since the first step started", "", height=120 + 34 * len(lanes))
    for kind, name in STEP_KINDS.items():
        bars = [span for span in spans if span.kind == kind]
        if bars:
            figure.add_trace(_bars(name, KIND_COLOURS[kind], bars, origin, seconds, unit))
    figure.update_layout(barmode="overlay", margin={"l": 10}, bargap=0.35)
    figure.update_yaxes(
        categoryorder="array", categoryarray=[html.escape(lane) for lane in reversed(lanes)], automargin=True
    )
    return drawing("timeline", "Timeline", figure)


def _bars(name: str, colour: str, bars: Sequence[Span], origin: float, seconds: int, unit: str) -> go.Bar:
    return go.Bar(
        name=name,
        orientation="h",
        y=[html.escape(span.lane) for span in bars],
        base=[round((span.started - origin) / seconds, 3) for span in bars],
        x=[round((span.ended - span.started) / seconds, 3) for span in bars],
        text=[f"{span.day}" if span.day else "" for span in bars],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        insidetextfont={"color": INK},
        constraintext="both",
        customdata=[_told(span) for span in bars],
        hovertemplate=f"%{{customdata}}, %{{x}} {unit}<extra>{name}</extra>",
        # Neighbouring days differ in shade, not by a border, which would swallow a short bar.
        marker={
            "color": colour,
            "opacity": [1.0 if span.day % 2 else 0.72 for span in bars],
            "line": {"color": colour, "width": 1},
        },
    )


def _told(span: Span) -> str:
    return f"day {span.day}, {span.pieces} committed" if span.day else "getting ready"


def _ne_figure(results: Results, vm: str) -> go.Figure:
    figure = _day_figure(results, "NE (lower is better)")
    _draw_methods(figure, {method: results.series(vm, method, "ne") for method in results.methods(vm)}, ".5f")
    references: dict[str, dict[tuple[int, int], float]] = {"FM itself": {}, "best possible": {}}
    for method in results.methods(vm):
        references["FM itself"].update(results.series(vm, method, "ne_fm"))
        references["best possible"].update(results.series(vm, method, "ne_oracle"))
    for (name, series), colour in zip(references.items(), (FM_COLOUR, ORACLE_COLOUR), strict=True):
        if series:
            days, means, _, _ = _by_day(series)
            line = {"color": colour, "dash": "longdash", "width": 1.5}
            # Far below the VMs, it would flatten their differences: a click in the legend shows it.
            visible = "legendonly" if name == "best possible" else True
            figure.add_trace(go.Scatter(x=days, y=means, name=name, mode="lines", line=line, visible=visible))
    return figure


def _changes(results: Results, vm: str) -> dict[Method, Series]:
    none = results.series(vm, "none", "ne")
    taught = [method for method in results.methods(vm) if method != "none"]
    return {method: percent_changes(none, results.series(vm, method, "ne")) for method in taught}


def _change_figure(results: Results, changes: Mapping[Method, Series]) -> go.Figure:
    figure = _day_figure(results, "change of NE against none, %")
    figure.add_hline(y=0, line={"color": METHOD_COLOURS["none"], "width": 1.5, "dash": "dot"})
    _draw_methods(figure, changes, "+.2f")
    return figure


def _calibration_figure(results: Results, vm: str) -> go.Figure:
    figure = _day_figure(results, "mean prediction ÷ mean label")
    figure.add_hline(y=1, line={"color": METHOD_COLOURS["none"], "width": 1.5, "dash": "dot"})
    _draw_methods(figure, {method: results.series(vm, method, "calibration") for method in results.methods(vm)}, ".3f")
    return figure


def _draw_methods(figure: go.Figure, by_method: Mapping[Method, Series], digits: str) -> None:
    """Per method the mean over the seeds, on a band from the lowest to the highest seed."""
    for method, series in by_method.items():
        days, means, low, high = _by_day(series)
        if not days:
            continue
        if low != high:
            figure.add_trace(
                go.Scatter(
                    x=[*days, *reversed(days)],
                    y=[*high, *reversed(low)],
                    fill="toself",
                    mode="lines",
                    line={"width": 0, "color": METHOD_COLOURS[method]},
                    opacity=0.22,
                    legendgroup=method,
                    showlegend=False,
                    hoverinfo="skip",
                )
            )
        figure.add_trace(
            go.Scatter(
                x=days,
                y=means,
                name=method,
                legendgroup=method,
                mode="lines+markers",
                line={"color": METHOD_COLOURS[method], "dash": METHOD_DASHES[method], "width": 2},
                marker={"symbol": METHOD_MARKERS[method], "size": 7},
                hovertemplate=f"day %{{x}}: %{{y:{digits}}}<extra>{method}</extra>",
            )
        )


def _by_day(series: Series) -> tuple[list[int], list[float], list[float], list[float]]:
    """Days, and per day the mean, lowest and highest over the seeds."""
    by_day: dict[int, list[float]] = {}
    for (_, day), value in series.items():
        by_day.setdefault(day, []).append(value)
    days = sorted(by_day)
    means = [summarise(by_day[day]).mean for day in days]
    known = [mean for mean in means if mean is not None]
    return days, known, [min(by_day[day]) for day in days], [max(by_day[day]) for day in days]


def new_figure(x_title: str, y_title: str, height: int = 300) -> go.Figure:
    axis = {"automargin": True, "gridcolor": "#e3e5e8", "zeroline": False, "showline": False, "ticks": ""}
    return go.Figure(
        layout=go.Layout(
            template="none",
            height=height,
            margin={"l": 64, "r": 12, "t": 8, "b": 44},
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
            legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            hovermode="closest",
            xaxis={"title": {"text": x_title, "standoff": 8}, **axis},
            yaxis={"title": {"text": y_title, "standoff": 8}, **axis},
        )
    )


def _day_figure(results: Results, y_title: str) -> go.Figure:
    """With a tick at whole days only."""
    figure = new_figure("evaluated day", y_title)
    first, last = results.days[0], results.days[-1]
    figure.update_xaxes(tick0=first, dtick=1 + (last - first) // 12, range=[first - 0.4, last + 0.4], tickformat="d")
    return figure


def drawing(identity: str, title: str, figure: go.Figure) -> Drawing:
    text = str(figure.to_json())
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Drawing(identity, title, text)
