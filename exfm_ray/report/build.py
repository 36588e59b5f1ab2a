"""The report as one HTML file that opens offline: `exfm report RUN`."""

from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from exfm_ray.data.location import Location
from exfm_ray.data.run_clock import read_commands
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.report import wording
from exfm_ray.report.bias import bias_rows
from exfm_ray.report.cascade import CascadeReport, cascade_reports, read_cascade_lines
from exfm_ray.report.cascade_figures import cascade_drawings
from exfm_ray.report.cascade_wording import cascade_findings, cascade_sentence, gain, won
from exfm_ray.report.control import matched_controls, uncontrolled
from exfm_ray.report.data_warning import data_warning
from exfm_ray.report.feedback import read_calls, read_fm_work, read_labels
from exfm_ray.report.figures import Drawing, timeline_drawing, vm_drawings
from exfm_ray.report.grid import grid_content
from exfm_ray.report.overlap import Overlap, overlap
from exfm_ray.report.overlap_wording import bound_sentence, path_sentence, pause_sentence
from exfm_ray.report.results import Results, read_results
from exfm_ray.report.reuse import reuse_sentence, split_reused
from exfm_ray.report.sessions import sessions
from exfm_ray.report.statistics import ordering
from exfm_ray.report.tables import day_rows, variant_rows
from exfm_ray.report.theory import theory_content
from exfm_ray.report.vocabulary import vocabulary_sentence
from exfm_ray.report.work import STEP_KINDS, read_work, timeline, totals

TEMPLATE, THEORY_TEMPLATE, GRID_TEMPLATE = "report.html.j2", "theory.html.j2", "grid.html.j2"
STUDY_TEMPLATE = "study.html.j2"


def write_report(run: RunDirectory) -> Location:
    """Write the run's report/index.html, whole or not at all, and say where it is.

    The same run directory gives the same bytes; hosts, processes and times are what its manifests recorded.

    Raises:
        UserError: the run has no results yet.
        DataError: results or manifests contradict themselves.
    """
    if run.is_of_a_theorem():
        page = _environment().get_template(THEORY_TEMPLATE).render(theory_content(run), plotly=Markup(get_plotlyjs()))
    elif run.is_of_a_study():
        from exfm_ray.report.study import study_content  # imports Optuna, which no other report needs

        template = _environment().get_template(STUDY_TEMPLATE)
        page = template.render(study_content(run), pairs=wording.pairs, plotly=Markup(get_plotlyjs()))
        write_report(run.simulation)
    elif run.is_of_a_grid():
        page = _environment().get_template(GRID_TEMPLATE).render(grid_content(run))
        for fm in run.fms():
            write_report(fm)
    else:
        page = _environment().get_template(TEMPLATE).render(_content(run, read_results(run)))
    run.report_file.write(page.encode())
    return run.report_file


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("exfm_ray.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("number", "percent", "spread", "change", "listed", "share", "duration")
    environment.filters.update({name: getattr(wording, name) for name in names}, gain=gain, won=won)
    return environment


def _content(run: RunDirectory, results: Results) -> dict[str, Any]:
    """All that the template names."""
    recipe, resolved = run.recipe(), run.resolved()
    orders = [order for vm in results.vms if (order := ordering(results, vm)) is not None]
    pieces = read_work(run, results)
    own, reused = split_reused(run, pieces)
    found = sessions(read_commands(run), [p for p in own if resolved["prepared"] is None or p.kind != "data"])
    spans = timeline(piece for session in found for piece in session.pieces)
    controls = [wording.control_sentence(control) for control in matched_controls(recipe, results)]
    drawings = vm_drawings(results)
    bars = [timeline_drawing(spans)] if spans else []
    cascades = _cascades(run, results)
    groups = [*drawings.values(), bars, *(of_cascade for _, _, of_cascade in cascades)]
    return {
        "name": recipe.name,
        "sentence": wording.run_sentence(recipe, results),
        "vocabulary": vocabulary_sentence(run, results),
        "data_warning": data_warning(recipe.data),
        "missing": wording.missing_variants(recipe, results),
        "headlines": [_headline(results, vm) for vm in results.vms],
        "orders": [(order, wording.order_sentence(order)) for order in orders],
        "pairs": wording.pairs,
        "controls": controls + [wording.uncontrolled_sentence(vm) for vm in uncontrolled(recipe, results)],
        "variants": variant_rows(results),
        "biases": bias_rows(results),
        "has_fm": results.any_defined("ne_fm"),
        "has_truth": results.any_defined("ne_oracle") or results.any_defined("excess"),
        "by_day": [(vm, day_rows(results, vm)) for vm in results.vms],
        "drawings": drawings,
        "timeline": bars,
        "cascade_sentence": cascade_sentence(recipe.evaluate.cascade) if recipe.evaluate.cascade else None,
        "cascades": cascades,
        "figures": [(d.identity, Markup(d.figure)) for group in groups for d in group],
        **_feedback(run, results),
        "work": totals(own),
        **_overlap(overlap(found, recipe)),
        "reused": totals(reused),
        "reuse_sentence": reuse_sentence(run, reused),
        "kinds": STEP_KINDS,
        "prepared": resolved["prepared"],
        "recipe": yaml.safe_dump(resolved["recipe"], sort_keys=False, allow_unicode=True),
        "versions": sorted(resolved["versions"].items()),
        "plotly": Markup(get_plotlyjs()),
    }


def _cascades(run: RunDirectory, results: Results) -> list[tuple[CascadeReport, list[str], list[Drawing]]]:
    """By domain, with what it shows in words and in figures."""
    reports = cascade_reports(run.recipe(), results, read_cascade_lines(run))
    return [(report, cascade_findings(report), cascade_drawings(report)) for report in reports]


def _overlap(found: Overlap | None) -> dict[str, Any]:
    """What the section on the time of the run names."""
    return {
        "overlap": found,
        "path_sentence": path_sentence(found) if found else None,
        "bound_sentence": bound_sentence(found) if found else None,
        "pause_sentence": pause_sentence(found) if found else None,
    }


def _feedback(run: RunDirectory, results: Results) -> dict[str, Any]:
    """What the section on the feedback window names."""
    recipe = run.recipe()
    labels = read_labels(run, recipe.das.feedback)
    work, calls = read_fm_work(run, labels), read_calls(run, results)
    return {
        "labels": labels,
        "late_sentence": wording.late_sentence(labels) if labels else None,
        "clock_sentence": wording.clock_sentence(recipe, labels) if labels else None,
        "fm_work": work,
        "window_sentence": wording.window_sentence(work),
        "calls_sentence": wording.calls_sentence(calls) if calls else None,
    }


def _headline(results: Results, vm: str) -> dict[str, Any]:
    first = next(line for line in results.lines if line.vm == vm)
    return {
        "vm": vm,
        "about": f"domain {first.domain}, {first.stage}, {first.task}, {first.model}",
        "sentence": wording.headline(results, vm),
        "warning": wording.worse_than_none(results, vm),
    }
