"""The adapter's control: `ah` at the same total distillation weight as `ah_sa`."""

import math
from dataclasses import dataclass

from exfm_ray.config import Recipe, VerticalModelConfig
from exfm_ray.report.results import Results
from exfm_ray.report.statistics import Change, paired_change


@dataclass(frozen=True)
class Control:
    """`ah_sa` of one VM against `ah` of another that differs in its loss weight alone, but for `differences`.

    `ah_sa` distils with w (L_d) + 1 (L_sa), so its match is an `ah` whose loss weight is w + 1.
    """

    vm: str
    matched: str
    adapter_weight: float
    matched_weight: float
    change: Change
    """From the matched `ah` to `ah_sa`: what the adapter itself gives."""
    differences: tuple[str, ...]
    """Other fields of the recipe in which the two VMs differ."""


def matched_controls(recipe: Recipe, results: Results) -> list[Control]:
    """Every `ah_sa` with an `ah` of the same domain, stage, task, model and total distillation weight."""
    controls = []
    for vm in recipe.vms:
        for other in recipe.vms:
            if not _matches(vm, other):
                continue
            change = paired_change(results.series(other.name, "ah", "ne"), results.series(vm.name, "ah_sa", "ne"))
            if change is not None:
                weights = vm.distill.loss_weight, other.distill.loss_weight
                controls.append(Control(vm.name, other.name, *weights, change, _differences(vm, other)))
    return controls


def uncontrolled(recipe: Recipe, results: Results) -> list[str]:
    """VMs that ran `ah_sa` and have no such control."""
    controlled = {control.vm for control in matched_controls(recipe, results)}
    return [vm for vm in results.vms if "ah_sa" in results.methods(vm) and vm not in controlled]


def _matches(vm: VerticalModelConfig, other: VerticalModelConfig) -> bool:
    same = (vm.domain, vm.stage, vm.task, vm.model) == (other.domain, other.stage, other.task, other.model)
    total = 1 + vm.distill.loss_weight
    return same and math.isclose(other.distill.loss_weight, total, rel_tol=1e-9)


def _differences(vm: VerticalModelConfig, other: VerticalModelConfig) -> tuple[str, ...]:
    """Only what `ah` reads: its adapter cannot matter."""
    left, right = vm.distill, other.distill
    read = ("label_scale", "grad_scale", "head_hidden")
    fields = [name for name in read if getattr(left, name) != getattr(right, name)]
    return tuple(fields + (["optimizer"] if vm.optimizer != other.optimizer else []))
