"""What the report of a grid shows: every FM with every VM, measured and as the paper states it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from exfm_ray.config import GridRecipe, Recipe
from exfm_ray.data.commit import committed
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.report.data_warning import data_warning
from exfm_ray.report.paper_tables import PaperNumber, paper_numbers
from exfm_ray.report.results import Results, read_results
from exfm_ray.report.statistics import Change, Summary, paired_change, summarise
from exfm_ray.report.wording import counted, listed
from exfm_ray.schema import METHODS, Method


@dataclass(frozen=True)
class Cell:
    """One FM, VM and method over all evaluated days and seeds."""

    auc: Summary
    logloss: Summary
    change: Change | None
    """of LogLoss in percent against the same VM without a teacher, paired by seed and day"""
    paper: PaperNumber | None


@dataclass(frozen=True)
class Row:
    """One FM and method over the VMs."""

    fm: str
    method: Method
    cells: tuple[Cell | None, ...]
    """None where the recipe leaves the pair out"""


@dataclass(frozen=True)
class Step:
    """Whether one VM's methods follow the paper's order under one FM, by the means of both measures."""

    fm: str
    vm: str
    by_auc: tuple[Method, ...]
    """from worst to best"""
    by_logloss: tuple[Method, ...]


def grid_content(run: RunDirectory) -> dict[str, Any]:
    """All that the template names.

    Raises:
        UserError: the run has no results yet.
    """
    resolved = run.resolved()
    grid = GridRecipe.model_validate(resolved["recipe"])
    recipes = grid.simulations()
    found = {recipe.fm.name: read_results(run.of_fm(recipe.fm.name)) for recipe in recipes}
    alone = found[recipes[0].fm.name]
    rows = [row for recipe in recipes for row in _rows(grid, recipe, found[recipe.fm.name], alone)]
    return {
        "name": grid.name,
        "sentence": _sentence(grid, alone),
        "warning": data_warning(grid.data, grid.paper),
        "rows_sentence": _rows_sentence(run, alone),
        "vms": [vm.name for vm in grid.vms],
        "rows": rows,
        "orders": [order for recipe in recipes for order in _orders(grid, recipe, found[recipe.fm.name], alone)],
        "paper": grid.paper,
        "paper_order": METHODS,
        "pages": [(recipe.fm.name, f"../fm={recipe.fm.name}/report/index.html") for recipe in recipes],
        "protocol": grid.evaluate.protocol,
        "prepared": resolved["prepared"],
        "recipe": yaml.safe_dump(resolved["recipe"], sort_keys=False, allow_unicode=True),
        "versions": sorted(resolved["versions"].items()),
    }


def _sentence(grid: GridRecipe, alone: Results) -> str:
    each = "each " if len(grid.fms) > 1 else ""
    return (
        f"{counted(len(grid.fms), 'foundation model')} ({listed([fm.name for fm in grid.fms])}), {each}the teacher of "
        f"{counted(len(grid.vms), 'vertical model')} on the {grid.data.type} data; "
        f"evaluated days {listed(list(alone.days))}, {counted(len(alone.seeds), 'seed')}."
    )


def _rows_sentence(run: RunDirectory, alone: Results) -> str:
    """How much data that is; what every day has is not told where its days are no longer there."""
    evaluated = sum({(line.vm, line.eval_day): line.rows for line in alone.lines}.values())
    told = f"Each method and seed was evaluated on {counted(evaluated, 'row')} over all VMs and days."
    days = [manifest for day in _numbers_of_days(run) if (manifest := committed(run.days.day(day))) is not None]
    if not days:
        return told
    rows = [day.rows for day in days]
    each = f"{rows[0]:,} rows each" if min(rows) == max(rows) else f"{min(rows):,} to {max(rows):,} rows"
    return f"The data are {counted(len(days), 'day')} of {each}, {sum(rows):,} in all. {told}"


def _numbers_of_days(run: RunDirectory) -> list[int]:
    if not run.days.is_directory():
        return []
    names = [child.name for child in run.days.children() if child.name.startswith("day=")]
    return run.own_days("days", sorted(int(name.removeprefix("day=")) for name in names))


def _of(results: Results, alone: Results, method: Method) -> Results:
    """Where a method was run: `none`, which has no teacher, beside the first FM only."""
    return alone if method == "none" else results


def _rows(grid: GridRecipe, recipe: Recipe, results: Results, alone: Results) -> list[Row]:
    paper = paper_numbers(grid.paper) if grid.paper else {}
    return [
        Row(recipe.fm.name, method, cells)
        for method in METHODS
        if any(cells := tuple(_cell(recipe, vm.name, method, results, alone, paper) for vm in grid.vms))
    ]


def _cell(
    recipe: Recipe,
    vm: str,
    method: Method,
    results: Results,
    alone: Results,
    paper: Mapping[tuple[str, str, Method], PaperNumber],
) -> Cell | None:
    source = _of(results, alone, method)
    if not source.of(vm, method):
        return None
    logloss, none = source.series(vm, method, "logloss"), alone.series(vm, "none", "logloss")
    return Cell(
        auc=summarise(source.series(vm, method, "auc").values()),
        logloss=summarise(logloss.values()),
        change=paired_change(none, logloss) if method != "none" else None,
        paper=paper.get((recipe.fm.model.type, vm, method)),
    )


def _orders(grid: GridRecipe, recipe: Recipe, results: Results, alone: Results) -> list[Step]:
    steps = []
    for vm in grid.vms:
        means: dict[Method, tuple[float, float]] = {}
        for method in METHODS:
            source = _of(results, alone, method)
            auc = summarise(source.series(vm.name, method, "auc").values()).mean
            logloss = summarise(source.series(vm.name, method, "logloss").values()).mean
            if auc is not None and logloss is not None:
                means[method] = (auc, logloss)
        if len(means) > 1:
            by_auc = tuple(sorted(means, key=lambda method: means[method][0]))
            by_logloss = tuple(sorted(means, key=lambda method: -means[method][1]))
            steps.append(Step(recipe.fm.name, vm.name, by_auc, by_logloss))
    return steps
