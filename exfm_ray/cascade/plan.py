"""Who takes part in the cascade: in each domain a click VM per stage, by every method that all three are trained by."""

from collections.abc import Iterator
from dataclasses import dataclass

from exfm_ray.config import CascadeConfig, DriftData, Recipe, TwoTowerModel, VerticalModelConfig
from exfm_ray.data.drift.requests import AD_FEATURES
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import UserError
from exfm_ray.schema import METHODS, Method

STAGES = ("retrieval", "early", "later")
TASK = "click"


@dataclass(frozen=True)
class DomainCascade:
    """The VMs of one domain."""

    domain: int
    vms: tuple[VerticalModelConfig, ...]
    """one per stage, in the order of STAGES"""
    methods: tuple[Method, ...]
    """that all of them are trained by"""

    def lacking(self, recipe: Recipe) -> dict[Method, tuple[str, ...]]:
        """Methods that only some of the VMs are trained by, and the VMs that lack them."""
        lacks = {
            method: tuple(vm.name for vm in self.vms if method not in recipe.methods_of(vm))
            for method in METHODS
            if any(method in recipe.methods_of(vm) for vm in self.vms)
        }
        return {method: names for method, names in lacks.items() if names}


def domain_cascades(recipe: Recipe) -> tuple[DomainCascade, ...]:
    """Those that a recipe asks for, by domain; none where it has no cascade.

    Raises:
        UserError: a domain has no click VM or several in a stage, or its VMs have no method in common.
    """
    config = recipe.evaluate.cascade
    if config is None:
        return ()
    domains = config.domains or tuple(sorted({vm.domain for vm in recipe.vms if vm.task == TASK}))
    return tuple(_domain_cascade(recipe, domain) for domain in domains)


def _domain_cascade(recipe: Recipe, domain: int) -> DomainCascade:
    vms = tuple(_vm_of(recipe, domain, stage) for stage in STAGES)
    methods = tuple(
        method for method in recipe.methods_of(vms[0]) if all(method in recipe.methods_of(vm) for vm in vms)
    )
    if not methods:
        names = ", ".join(f"{vm.name} ({', '.join(recipe.methods_of(vm))})" for vm in vms)
        raise UserError(
            f"evaluate.cascade: the VMs of domain {domain} have no method in common: {names}; give them one, or leave "
            "the domain out of evaluate.cascade.domains"
        )
    return DomainCascade(domain, vms, methods)


def _vm_of(recipe: Recipe, domain: int, stage: str) -> VerticalModelConfig:
    found = [vm for vm in recipe.vms if (vm.domain, vm.stage, vm.task) == (domain, stage, TASK)]
    if len(found) != 1:
        names = ", ".join(vm.name for vm in found) or "none"
        raise UserError(
            f"evaluate.cascade: domain {domain} needs one {TASK} VM in the stage {stage}, found {names}; add or leave "
            "out VMs, or name other domains in evaluate.cascade.domains"
        )
    return found[0]


def check_cascade(recipe: Recipe) -> None:
    """Compare the cascade that a recipe asks for with its data and VMs; nothing happens where it asks for none.

    Raises:
        UserError: the first disagreement, in one line.
    """
    config = recipe.evaluate.cascade
    if config is None:
        return
    if not isinstance(recipe.data, DriftData):
        raise UserError(
            f"evaluate.cascade: needs ads whose true probability is known, but data.type is {recipe.data.type!r}; "
            "leave evaluate.cascade out, or choose the type drift"
        )
    _check_stream(config, recipe.data)
    for cascade in domain_cascades(recipe):
        model, where = cascade.vms[0].model, f"vms.{recipe.vms.index(cascade.vms[0])} ({cascade.vms[0].name}).model"
        if not isinstance(model, TwoTowerModel):
            raise UserError(
                f"{where}.type: {model.type!r} in the stage retrieval cannot look at every candidate of "
                "evaluate.cascade; choose two_tower"
            )
        if not has_ad_tower(model):
            raise UserError(
                f"{where}.item_fields: {', '.join(model.item_fields)} are not the features of an ad, so that its "
                f"vector would depend on the request; evaluate.cascade needs {', '.join(AD_FEATURES)}"
            )


def _check_stream(config: CascadeConfig, data: DriftData) -> None:
    if missing := [stage for stage in STAGES if stage not in data.stages]:
        raise UserError(f"data.stages: lacks {', '.join(missing)}, which evaluate.cascade needs; add them")
    if TASK not in data.tasks:
        raise UserError(f"data.tasks: lacks {TASK}, which evaluate.cascade needs; add it")
    if config.candidates > data.ads:
        raise UserError(
            f"evaluate.cascade.candidates: {config.candidates} are more than the {data.ads} of data.ads; lower it, or "
            "raise data.ads"
        )
    for domain in config.domains or ():
        if not 0 <= domain < data.domains:
            raise UserError(
                f"evaluate.cascade.domains: {domain} is not in the data; its domains are 0 to {data.domains - 1}"
            )


def has_ad_tower(model: TwoTowerModel) -> bool:
    """Whether its item tower reads all of an ad and nothing of the request."""
    return set(model.item_fields) == set(AD_FEATURES)


@dataclass(frozen=True)
class Trial:
    """One cascade that is evaluated on one day: a method's VMs from one seed."""

    cascade: DomainCascade
    method: Method
    seed: int

    def outcome_file(self, run: RunDirectory, day: int) -> Location:
        return run.cascade_outcome_file(self.cascade.domain, self.method, self.seed, day)


def trials(recipe: Recipe) -> Iterator[Trial]:
    """In the order of cascade.jsonl, which has the days of each; none where the recipe has no cascade."""
    for cascade in domain_cascades(recipe):
        for method in cascade.methods:
            for seed in recipe.seeds:
                yield Trial(cascade, method, seed)


def cascade_files(experiment: Experiment) -> list[Location]:
    """One per line of cascade.jsonl, in its order."""
    return [
        trial.outcome_file(experiment.run, day)
        for trial in trials(experiment.recipe)
        for day in experiment.supervised_days[1:]
    ]
