"""What a study may say: which distillation settings of a recipe's VMs are searched, and how."""

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from exfm_ray.config.distill import AdapterConfig, DistillConfig
from exfm_ray.config.recipe import Recipe
from exfm_ray.config.section import Name, Section, Width
from exfm_ray.schema import Method

SCALES = ("label_scale", "grad_scale", "loss_weight")
"""α, β and w: of the auxiliary head, so only where there is one"""
WITH_HEAD: tuple[Method, ...] = ("ah", "ah_sa")
DEFAULT_SCALE = 1.0
Seed = Annotated[int, Field(ge=0, le=2**31)]


class Range(Section):
    """Numbers between two ends, both allowed."""

    low: float
    high: float
    log: bool = Field(default=True, description="as likely between 1 and 10 as between 10 and 100")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; low must be less than high")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}, which has no logarithm; raise it, or say log: false")
        return self

    def values(self) -> tuple[float, ...]:
        return self.low, self.high


class Choices(Section):
    """A few numbers; a plain list of them stands for it."""

    choices: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _of_list(cls, content: Any) -> Any:
        return {"choices": content} if isinstance(content, list | tuple) else content

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.choices)) != len(self.choices):
            raise ValueError("choices repeats a value; leave each once")
        return self

    def values(self) -> tuple[float, ...]:
        return self.choices


def _which(content: Any) -> str:
    is_range = isinstance(content, Range) or (isinstance(content, dict) and "choices" not in content)
    return "range" if is_range else "choices"


Dimension = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_which)]


class SpaceConfig(Section):
    """What is searched. What is left out stays as the recipe's VMs have it."""

    method: tuple[Method, ...] = Field(
        default=("ah",), min_length=1, description="more than one: which of them is searched too"
    )
    label_scale: Dimension | None = None
    grad_scale: Dimension | None = None
    loss_weight: Dimension | None = None
    head_width: tuple[Width, ...] | None = Field(default=None, min_length=1, description="of one hidden layer")
    head_learning_rate: Dimension | None = None
    adapter_width: tuple[Width, ...] | None = Field(default=None, min_length=1, description="of one hidden layer")
    adapter_learning_rate: Dimension | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in (*SCALES, "head_learning_rate"):
            _allowed(name, getattr(self, name), DistillConfig)
        _allowed("adapter_learning_rate", self.adapter_learning_rate, AdapterConfig, "learning_rate")
        if "none" in self.method:
            raise ValueError("method: none has no teacher, so nothing to search; every study compares with it anyway")
        if len(set(self.method)) != len(self.method):
            raise ValueError("method repeats a value; leave each once")
        if not self.searched():
            raise ValueError(f"names nothing to search; give a range or choices to one of {', '.join(DIMENSIONS)}")
        for name in self.searched():
            if not any(applies(name, method) for method in self.method):
                needed = " or ".join(method for method in ("kd", *WITH_HEAD) if applies(name, method))
                raise ValueError(f"{name}: changes nothing for {', '.join(self.method)}; add {needed} to method")
        return self

    def values(self, name: str) -> tuple[float, ...]:
        """The choices of a dimension that is searched, or the ends of its range."""
        dimension: Range | Choices | tuple[int, ...] = getattr(self, name)
        return dimension if isinstance(dimension, tuple) else dimension.values()

    def searched(self) -> tuple[str, ...]:
        """Names of the dimensions that have more than one value, but for the method."""
        return tuple(name for name in DIMENSIONS if getattr(self, name) is not None)


DIMENSIONS = (*SCALES, "head_width", "head_learning_rate", "adapter_width", "adapter_learning_rate")


def applies(dimension: str, method: Method) -> bool:
    """Whether a setting changes what a method does."""
    if dimension.startswith("adapter"):
        return method == "ah_sa"
    return method in WITH_HEAD or (method == "kd" and dimension in ("label_scale", "loss_weight"))


def _allowed(name: str, dimension: Range | Choices | None, section: type[Section], field: str | None = None) -> None:
    for value in dimension.values() if dimension is not None else ():
        try:
            section.model_validate({field or name: value})
        except ValidationError as error:
            raise ValueError(f"{name}: {value:g}: {error.errors()[0]['msg'].lower()}") from None


class SamplerConfig(Section):
    """Who proposes the next point; Optuna's samplers."""

    type: Literal["tpe", "random", "grid", "gp", "nsga2"] = "tpe"
    seed: int = Field(default=0, ge=0, le=2**31)
    startup_trials: int = Field(default=10, ge=1, le=10_000, description="at random before tpe and gp begin to learn")


class PrunerConfig(Section):
    """Which trials end early, by their NE over the days and seeds so far."""

    type: Literal["none", "median", "wilcoxon"] = Field(
        default="wilcoxon",
        description="wilcoxon: worse than the best on the same days and seeds by a signed-rank test; median: mean so "
        "far above the median of finished trials on the same days and seeds",
    )
    p_threshold: float = Field(
        default=0.1, gt=0, lt=1, description="of wilcoxon; smaller prunes less, and four instances cannot be below 0.06"
    )
    startup_trials: int = Field(default=8, ge=1, le=10_000, description="that are never pruned")


class ObjectiveConfig(Section):
    """What is made small: next-day NE, averaged over the days and seeds that choose."""

    together: Literal["mean", "pareto"] = Field(
        default="mean", description="several VMs: their mean, or a front of points that are best for some trade"
    )
    calibration_within: float | None = Field(
        default=None, gt=0, le=10, description="|calibration − 1| may be so much in every VM; left out: any"
    )


class StudyConfig(Section):
    """A joint search (ExFM Figures 10 to 12) over the distillation settings of a recipe's VMs."""

    name: Name
    recipe: Recipe
    space: SpaceConfig
    vms: tuple[str, ...] | None = Field(default=None, min_length=1, description="left out: all of the recipe")
    per_vm: bool = Field(default=False, description="a point for each VM, or one for all of them")
    trials: int = Field(default=64, ge=1, le=1_000_000)
    at_once: int = Field(default=8, ge=1, le=256, description="trials that share a pass over the days in one process")
    choose_through_day: int = Field(ge=1, description="evaluated days up to it choose; those after it report")
    choose_seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1, description="the recipe's seeds report")
    points: tuple[dict[str, float], ...] = Field(default=(), description="to try first, such as the paper's")
    sampler: SamplerConfig = SamplerConfig()
    pruner: PrunerConfig = PrunerConfig()
    objective: ObjectiveConfig = ObjectiveConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = [vm.name for vm in self.recipe.vms]
        for name in self.vms or ():
            if name not in known:
                raise ValueError(f"vms: {name!r} is no VM of the recipe; choose from {', '.join(known)}")
        if self.objective.together == "pareto" and self.pruner.type != "none":
            raise ValueError(
                f"pruner.type: {self.pruner.type!r} compares one number, and objective.together pareto has one per VM; "
                "choose none"
            )
        if self.objective.together == "pareto" and self.sampler.type == "gp" and len(self.searched_vms) > 4:
            raise ValueError("sampler.type: gp is for few objectives; choose nsga2 or tpe")
        if self.sampler.type == "grid":
            self._check_grid()
        for index, point in enumerate(self.points):
            for name in point:
                if name not in self.space.searched():
                    raise ValueError(
                        f"points.{index}: {name!r} is not searched; choose from {', '.join(self.space.searched())}"
                    )
        if teams := self.recipe.team_vms():
            raise ValueError(
                f"recipe.vms.{teams[0].name}.workers is {teams[0].workers}, but each trial of a study is trained in "
                "one process; say workers: 1"
            )
        first, last = self.recipe.first_vm_day + 1, self.choose_through_day
        if last < first:
            raise ValueError(f"choose_through_day: {last} is before the first evaluated day, {first}; raise it")
        return self

    def _check_grid(self) -> None:
        if self.points:  # Optuna would try them beside those of the grid, which then lacked as many at its end
            raise ValueError("points: a grid tries all of its points once; leave points out, or choose tpe")
        if len(self.space.method) > 1:
            raise ValueError("space.method: a grid has one method; make a study for each")
        for name in self.space.searched():
            if isinstance(getattr(self.space, name), Range):
                raise ValueError(f"space.{name}: a grid needs choices, not a range; list the values, or choose tpe")

    @property
    def searched_vms(self) -> tuple[str, ...]:
        return self.vms or tuple(vm.name for vm in self.recipe.vms)

    @property
    def wanted_trials(self) -> int:
        """As many as asked for; of a grid no more than it has points."""
        if self.sampler.type != "grid":
            return self.trials
        counts: list[int] = [len(self.space.values(name)) for name in self.space.searched()]
        points = int(prod(counts) ** (len(self.searched_vms) if self.per_vm else 1))
        return min(self.trials, points)

    def controls(self) -> Recipe:
        """The recipe of what a found point is compared with: none, kd, and the searched methods at scales of 1."""
        methods = tuple(dict.fromkeys(("none", "kd", *self.space.method)))
        content = self.recipe.model_dump()
        ones = dict.fromkeys(SCALES, DEFAULT_SCALE)
        vms = [
            vm | {"methods": methods, "distill": vm["distill"] | ones}
            for vm in content["vms"]
            if vm["name"] in self.searched_vms
        ]
        return Recipe.model_validate(content | {"methods": methods, "vms": vms})
