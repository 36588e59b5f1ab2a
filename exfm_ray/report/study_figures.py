"""Figures of a study: Optuna's own, and the surface of the three scales."""

import math
import warnings
from collections.abc import Sequence

import optuna.visualization as optuna_figures
import plotly.graph_objects as go

from exfm_ray.config import StudyConfig
from exfm_ray.config.study import SCALES
from exfm_ray.report.figures import INK, Drawing, drawing, new_figure
from exfm_ray.report.study_trials import TrialLine, as_study

FEWEST_TRIALS = 4
"""for an importance to mean anything"""


def study_drawings(study: StudyConfig, trials: Sequence[TrialLine]) -> list[Drawing]:
    """Those that the trials are enough for."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.values]
    if len(complete) < FEWEST_TRIALS:
        return []
    objectives = len(complete[0].values or ())
    found = as_study(complete, objectives)
    varied = [name for name in complete[0].params if len({trial.params.get(name) for trial in complete}) > 1]
    drawings = []
    if objectives > 1:
        names = list(study.searched_vms)
        if objectives <= 3:
            front = optuna_figures.plot_pareto_front(found, target_names=names)
            drawings.append(_drawing("front", "Points and the front: next-day NE of each VM", front))
    for place in range(objectives):
        vm = f" of {study.searched_vms[place]}" if objectives > 1 else ""
        target = (lambda trial, place=place: trial.values[place]) if objectives > 1 else None
        name = f"NE{vm}"
        if len(varied) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that it is of low values, which is what is wanted
                importance = optuna_figures.plot_param_importances(found, target=target, target_name=name)
            drawings.append(_drawing(f"importance-{place}", f"What matters for {name} (PED-ANOVA)", importance))
            coordinates = optuna_figures.plot_parallel_coordinate(found, params=varied, target=target, target_name=name)
            drawings.append(_drawing(f"parallel-{place}", f"Every trial by its settings and {name}", coordinates))
            contour = optuna_figures.plot_contour(found, params=varied[:3], target=target, target_name=name)
            drawings.append(_drawing(f"contour-{place}", f"{name} over pairs of settings", contour, height=620))
    drawings += [_drawing(f"surface{place}", title, figure, 520) for place, (title, figure) in
                 enumerate(_surfaces(study, complete))]  # fmt: skip
    return drawings


def _drawing(identity: str, title: str, figure: go.Figure, height: int = 420) -> Drawing:
    figure.update_layout(
        template="none", title=None, height=height, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
    )  # fmt: skip
    return drawing(identity, title, figure)


def _surfaces(study: StudyConfig, trials: Sequence[TrialLine]) -> list[tuple[str, go.Figure]]:
    """Trials in the space of label scale, gradient scale and loss weight, coloured by mean NE; one per own point."""
    found = []
    for prefix in [f"{vm}." for vm in study.searched_vms] if study.per_vm else [""]:
        names = [f"{prefix}{name}" for name in SCALES]
        whole = [trial for trial in trials if all(name in trial.params for name in names)]
        if len(whole) >= FEWEST_TRIALS:
            title = f"NE over label scale, gradient scale and loss weight {prefix.rstrip('.')}".rstrip()
            found.append((title, _surface(names, whole)))
    return found


def _surface(names: Sequence[str], trials: Sequence[TrialLine]) -> go.Figure:
    figure = new_figure("", "")
    values = [math.fsum(trial.values or ()) / len(trial.values or ()) for trial in trials]
    middle = sorted(values)[len(values) // 2]
    x, y, z = ([trial.params[name] for trial in trials] for name in names)
    figure.add_trace(
        go.Scatter3d(
            x=x, y=y, z=z, mode="markers", text=[f"trial {trial.number}" for trial in trials],
            # a few harmful points would leave all others one colour
            marker={"size": 5, "color": [min(value, 2 * middle - min(values)) for value in values],
                    "colorscale": "Viridis", "reversescale": True, "colorbar": {"title": "NE"}},
            customdata=values,
            hovertemplate="%{text}: NE %{customdata:.5f}<br>(%{x:.3g}, %{y:.3g}, %{z:.3g})<extra></extra>",
        )
    )  # fmt: skip
    axes = {
        axis: {"title": name, "type": "log" if min(column) > 0 else "linear"}
        for axis, name, column in zip(("xaxis", "yaxis", "zaxis"), names, (x, y, z), strict=True)
    }
    figure.update_layout(scene=axes)
    return figure
