"""A point of the search space: what a trial changes in the VMs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from optuna.trial import Trial

from exfm_ray.config import Choices, DistillConfig, Range, StudyConfig, VariantConfig, VerticalModelConfig
from exfm_ray.config.study import applies
from exfm_ray.schema import Method


@dataclass(frozen=True)
class Setting:
    """How one VM is distilled."""

    method: Method
    distill: DistillConfig


def settings_of(trial: Trial, study: StudyConfig) -> dict[str, Setting]:
    """What a trial proposes for each searched VM; asking again gives the same.

    Dimensions that change nothing for the proposed method are not asked for.
    """
    vms = [vm for vm in study.recipe.vms if vm.name in study.searched_vms]
    return {vm.name: _setting(trial, study, vm) for vm in vms}


def _setting(trial: Trial, study: StudyConfig, vm: VerticalModelConfig) -> Setting:
    space, prefix = study.space, f"{vm.name}." if study.per_vm else ""
    method = space.method[0]
    if len(space.method) > 1:
        method = cast(Method, trial.suggest_categorical(f"{prefix}method", space.method))
    found = {
        name: _proposed(trial, f"{prefix}{name}", getattr(space, name))
        for name in space.searched()
        if applies(name, method)
    }
    return Setting(method, changed(vm.distill, found))


def _proposed(trial: Trial, name: str, dimension: Range | Choices | tuple[int, ...]) -> float:
    if isinstance(dimension, Range):
        return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    values = dimension.choices if isinstance(dimension, Choices) else dimension
    return trial.suggest_categorical(name, values)


def changed(distill: DistillConfig, values: dict[str, float]) -> DistillConfig:
    """Settings with some of the searched dimensions changed."""
    adapter = {
        field: value
        for field, value in (
            ("hidden", (int(values["adapter_width"]),) if "adapter_width" in values else None),
            ("learning_rate", values.get("adapter_learning_rate")),
        )
        if value is not None
    }
    scales = {name: value for name, value in values.items() if name in DistillConfig.model_fields}
    head = {"head_hidden": (int(values["head_width"]),)} if "head_width" in values else {}
    return distill.model_copy(update={**scales, **head, "adapter": distill.adapter.model_copy(update=adapter)})


def trial_vm(vm: str, number: int) -> str:
    """How a trial's version of a VM is named among variants."""
    return f"{vm}-trial{number:05d}"


def variants_of(study: StudyConfig, number: int, settings: dict[str, Setting]) -> Iterator[VariantConfig]:
    """The variants that a trial trains: each searched VM from each seed that chooses."""
    for vm in study.recipe.vms:
        if (setting := settings.get(vm.name)) is not None:
            named = vm.model_copy(update={"name": trial_vm(vm.name, number), "distill": setting.distill})
            for seed in study.choose_seeds:
                yield VariantConfig(vm=named, method=setting.method, seed=seed)
