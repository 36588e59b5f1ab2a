"""The recipe itself: FM, VMs, methods, and how all of it is run."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from exfm_ray.config.das import DasConfig
from exfm_ray.config.data import DataConfig
from exfm_ray.config.distill import DistillConfig, SharedDistillConfig
from exfm_ray.config.evaluate import FIRST_WINDOW_DAY, EvaluateConfig
from exfm_ray.config.fm import FoundationModelConfig
from exfm_ray.config.resources import ResourcesConfig
from exfm_ray.config.section import Name, Section
from exfm_ray.config.vms import VariantConfig, VerticalModelConfig
from exfm_ray.config.vocabulary import VocabularyConfig
from exfm_ray.schema import METHODS, Method


class SimulationSections(Section):
    """What a recipe says beside its FM."""

    name: Name
    seeds: tuple[Annotated[int, Field(ge=0, le=2**31)], ...] = Field(default=(0,), min_length=1)
    data: DataConfig
    vocabulary: VocabularyConfig | None = Field(
        default=None, description="counted ids; left out: hash-coded, as the data's features say"
    )
    vms: tuple[VerticalModelConfig, ...] = Field(min_length=1)
    methods: tuple[Method, ...] = Field(default=METHODS, min_length=1)
    distill: SharedDistillConfig = SharedDistillConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    das: DasConfig = DasConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="before")
    @classmethod
    def _vms_inherit_distill(cls, content: Any) -> Any:
        """Complete each VM's `distill` by that of its task, and a task's by the recipe's.

        A wrong one is left for the fields' own checks to tell.
        """
        if not isinstance(content, dict) or not isinstance(content.get("vms"), list | tuple):
            return content
        try:
            given = SharedDistillConfig.model_validate(content.get("distill", {})).model_dump(exclude_unset=True)
        except ValidationError:
            return content
        of_tasks = given.pop("tasks", {})
        shared = DistillConfig.model_validate(given).model_dump()
        tasks = {task: _completed(shared, distill) for task, distill in of_tasks.items()}
        vms = []
        for vm in content["vms"]:
            if isinstance(vm, dict) and isinstance(vm.get("distill", {}), dict):
                base = tasks.get(vm.get("task", VerticalModelConfig.model_fields["task"].default), shared)
                vm = vm | {"distill": _completed(base, vm.get("distill", {}))}
            vms.append(vm)
        return content | {"distill": shared | {"tasks": tasks}, "vms": vms}

    @model_validator(mode="after")
    def _pointer_is_in_reach(self) -> Self:
        pointer = self.das.pointer
        if pointer is not None and pointer.startswith("cluster:") and self.resources.mode == "local":
            raise ValueError(f"das.pointer {pointer!r} needs a cluster, and resources.mode is local; leave one out")
        return self

    @model_validator(mode="after")
    def _workers_of_vms_are_processes(self) -> Self:
        _in_processes({f"vms.{vm.name}": vm.workers for vm in self.vms}, self.resources)
        return self

    @model_validator(mode="after")
    def _check_repeats(self) -> Self:
        for values, what in ((self.seeds, "seeds"), (self.methods, "methods")):
            if len(set(values)) != len(values):
                raise ValueError(f"{what} repeats a value; leave each once")
        return self

    def methods_of(self, vm: VerticalModelConfig) -> tuple[Method, ...]:
        return vm.methods if vm.methods is not None else self.methods

    def variants(self) -> tuple[VariantConfig, ...]:
        """Every VM by every method from every seed, in the order of results.jsonl."""
        return tuple(
            VariantConfig(vm=vm, method=method, seed=seed)
            for vm in self.vms
            for method in self.methods_of(vm)
            for seed in self.seeds
        )

    def fleet_variants(self) -> tuple[VariantConfig, ...]:
        """Those that are trained by one worker each."""
        return tuple(variant for variant in self.variants() if variant.vm.workers == 1)

    def team_vms(self) -> tuple[VerticalModelConfig, ...]:
        """VMs that have variants, each of which is trained by several workers together."""
        return tuple(vm for vm in self.vms if vm.workers > 1 and self.methods_of(vm))

    @property
    def team_workers(self) -> int:
        """Of all such VMs, which are trained at once."""
        return sum(vm.workers for vm in self.team_vms())


class Recipe(SimulationSections):
    """One simulation."""

    fm: FoundationModelConfig = FoundationModelConfig()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        _each_once([vm.name for vm in self.vms] + [self.fm.name], "fm and vms")
        return self

    @model_validator(mode="after")
    def _workers_of_fm_are_processes(self) -> Self:
        _in_processes({"fm": self.fm.workers}, self.resources)
        return self

    @property
    def first_supervised_day(self) -> int:
        """The first day t for which FM(t - 1 - staleness) exists."""
        return self.fm.train_from_day + 1 + self.fm.staleness_days

    @property
    def first_vm_day(self) -> int:
        """The first day that VMs train on."""
        first = FIRST_WINDOW_DAY if self.evaluate.protocol == "windows" else self.first_supervised_day
        return self.evaluate.train_from_day or first

    @property
    def counted_through_day(self) -> int:
        """The last day that a vocabulary which does not grow is counted from."""
        given = self.vocabulary.through_day if self.vocabulary is not None else None
        return given or self.first_vm_day - 1

    def supervising_snapshot(self, day: int) -> int:
        """The day through which the FM that supervises D(day) is trained."""
        return day - 1 - self.fm.staleness_days

    def vocabulary_day(self, day: int) -> int:
        """The last day that the vocabulary has seen with which a model is trained on a day; 0: none."""
        return day - 1 if self.vocabulary is not None and self.vocabulary.grow else self.counted_through_day


PaperTable = Literal["table2", "table3", "table4"]
"""Those whose numbers the paper states."""


class GridRecipe(SimulationSections):
    """Several simulations on the same days: every FM teaches every VM (the paper's Tables 2 to 5)."""

    fms: tuple[FoundationModelConfig, ...] = Field(min_length=1)
    paper: PaperTable | None = Field(default=None, description="whose numbers stand beside those measured")

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        _each_once([vm.name for vm in self.vms] + [fm.name for fm in self.fms], "fms and vms")
        return self

    @model_validator(mode="after")
    def _workers_of_fms_are_processes(self) -> Self:
        _in_processes({f"fms.{fm.name}": fm.workers for fm in self.fms}, self.resources)
        return self

    @model_validator(mode="after")
    def _has_no_cascade(self) -> Self:
        if self.evaluate.cascade is not None:
            raise ValueError("evaluate.cascade is for a recipe with one FM; leave it out, or give fm in place of fms")
        return self

    def simulations(self) -> tuple[Recipe, ...]:
        """One per FM, in order. What has no teacher (none) is run once, in the first."""
        content = self.model_dump(exclude={"fms", "paper", "vms"})
        recipes = []
        for place, fm in enumerate(self.fms):
            methods = {vm.name: self._taught(vm, with_none=place == 0) for vm in self.vms}
            vms = [vm.model_dump() | {"methods": methods[vm.name]} for vm in self.vms if methods[vm.name]]
            if vms:
                recipes.append(Recipe.model_validate(content | {"fm": fm.model_dump(), "vms": vms}))
        return tuple(recipes)

    def _taught(self, vm: VerticalModelConfig, with_none: bool) -> tuple[Method, ...]:
        return tuple(method for method in self.methods_of(vm) if with_none or method != "none")


def _in_processes(workers: dict[str, int], resources: ResourcesConfig) -> None:
    """Refuse several workers for the model of a section where there is one process."""
    for section, count in workers.items():
        if count > 1 and resources.mode == "local":
            raise ValueError(
                f"{section}.workers is {count}, and resources.mode local has one process; say workers: 1, whose "
                "numbers differ by rounding, or leave resources.mode out"
            )


def _each_once(names: list[str], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the name {name!r} is given to more than one of {where}; rename one")


def _completed(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`given` over `base`, section by section."""
    inner = {
        name: _completed(base[name], value)
        for name, value in given.items()
        if isinstance(value, dict) and isinstance(base.get(name), dict)
    }
    return base | given | inner
