"""The recipe itself: FM, VMs, methods, and how all of it is run."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from exfm_ray.config.cascade import CascadeConfig
from exfm_ray.config.data import DataConfig
from exfm_ray.config.feedback import FeedbackConfig
from exfm_ray.config.models import DcnV2Model, DeepFamModel, ModelConfig, whole_batch_field
from exfm_ray.config.placement import ComingNodes, Placement
from exfm_ray.config.pointer import POINTER_FORM, pointer_place
from exfm_ray.config.section import Name, Positive, Section, Width
from exfm_ray.config.vocabulary import VocabularyConfig
from exfm_ray.schema import METHODS, Method

ADAGRAD_RATE = 0.02

Precision = Literal["float32", "tf32", "bf16"]


class OptimizerConfig(Section):
    """Adam for the dense part; embedding tables are updated only where a batch touches them."""

    learning_rate: Positive = 2e-3
    embedding: Literal["rowwise_adagrad", "adagrad", "lazy_adam"] = Field(
        default="rowwise_adagrad", description="of tables: Adagrad with a state per row or per number, or lazy Adam"
    )
    embedding_learning_rate: Positive | None = Field(
        default=None, description=f"left out: {ADAGRAD_RATE} for Adagrad, learning_rate for lazy_adam"
    )
    batch_size: int = Field(default=512, ge=1, le=1_048_576, description="rows")
    precision: Precision = Field(
        default="float32",
        description="of matrix products in training; tf32 is for GPUs, and on a CPU the same as float32. Parameters, "
        "optimizers and a VM's predictions are always float32",
    )
    compile: bool = Field(default=False, description="MLPs by torch.compile, which needs a C++ compiler")

    @property
    def table_rate(self) -> float:
        """The learning rate of embedding tables. Adagrad's is no multiple of Adam's, so it has a default of its own."""
        if self.embedding_learning_rate is not None:
            return self.embedding_learning_rate
        return self.learning_rate if self.embedding == "lazy_adam" else ADAGRAD_RATE


Workers = Annotated[
    int,
    Field(
        ge=1,
        le=1_024,
        description="processes that train one model together, each on its part of every batch; more than one are a Ray "
        "Train run of their own, and give the numbers of one but for rounding",
    ),
]


def check_shared_out(workers: int, model: ModelConfig) -> None:
    """Refuse several workers for a model that cannot compute a part of a batch as it computes the whole.

    Batch normalization and Dice take moments over the batch, and a dropout's masks are drawn for all of its rows.
    """
    field = whole_batch_field(model)
    if workers > 1 and field is not None:
        raise ValueError(
            f"workers is {workers}, but model.{field} needs every row of a batch in one process; say workers: 1, or "
            f"leave model.{field} out"
        )


class FoundationModelConfig(Section):
    """The teacher."""

    name: Name = "fm"
    model: ModelConfig = DcnV2Model()
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1.5e-3, batch_size=1024)
    train_from_day: int = Field(default=1, ge=1)
    staleness_days: int = Field(default=0, ge=0, description="days that the FM is held back further than the clock")
    exclude: tuple[str, ...] = Field(default=(), description="features that it does not read, such as the domain")
    seed: int = Field(default=0, ge=0)
    workers: Workers = 1

    @model_validator(mode="after")
    def _can_be_shared(self) -> Self:
        check_shared_out(self.workers, self.model)
        return self


class AdapterConfig(Section):
    """The student adapter: a residual MLP on the FM's logit that starts as the identity (Eq. 6)."""

    hidden: tuple[Width, ...] = Field(default=(16,), min_length=1)
    optimizer: Literal["adam", "adagrad", "sgd"] = Field(default="adam", description="its own, beside the VM's")
    learning_rate: Positive = 1e-2


class DistillConfig(Section):
    """How the FM's supervision enters a VM's loss (Eq. 5 and 7)."""

    label_scale: float = Field(default=1.0, gt=0, description="alpha, LS: pseudo-label times alpha, clipped at 1")
    grad_scale: float = Field(default=1.0, ge=0, description="beta, GS: of the gradient from distillation head to x")
    loss_weight: float = Field(default=1.0, ge=0, description="w, LW: of the distillation loss")
    head_hidden: tuple[Width, ...] = Field(default=(16,), description="hidden layers of each distillation head")
    head_learning_rate: Positive | None = Field(
        default=None, description="of the distillation heads; left out: as of the VM's other dense parameters"
    )
    adapter: AdapterConfig = AdapterConfig()


class SharedDistillConfig(DistillConfig):
    """What holds for all VMs, and what differs by task; what a task leaves out is as for all."""

    tasks: dict[str, DistillConfig] = Field(default={}, description="by the name of a task")


class VerticalModelConfig(Section):
    """One student: a domain, a stage and a task."""

    name: Name
    domain: int = Field(default=0, ge=0)
    stage: str = "later"
    task: str = "click"
    model: ModelConfig = DeepFamModel()
    optimizer: OptimizerConfig = OptimizerConfig()
    methods: tuple[Method, ...] | None = Field(default=None, description="as the recipe's where it is left out")
    distill: DistillConfig = Field(
        default=DistillConfig(), description="what is left out is as for its task in the recipe's"
    )
    workers: Workers = 1

    @model_validator(mode="after")
    def _can_be_shared(self) -> Self:
        check_shared_out(self.workers, self.model)
        return self


class VariantConfig(Section):
    """One training of a VM: how it is configured, by which method it is distilled, and from which seed it starts.

    A run directory finds its checkpoint, snapshots and results by name, method and seed, which therefore stand for one
    configuration there. `vm.distill` holds as it is: nothing of it is inherited from a recipe.
    """

    vm: VerticalModelConfig
    method: Method
    seed: int = Field(ge=0, le=2**31)


FIRST_WINDOW_DAY = 5
"""of the paper's 8-day protocol: the FM is trained on days 1 to 4 before its first supervision"""


class EvaluateConfig(Section):
    """Which days train and which report."""

    protocol: Literal["streaming", "windows"] = Field(
        default="streaming",
        description="streaming: VMs go on from day to day; windows: each day trains fresh VMs, tested on the next "
        "(the paper's 8-day protocol, 4.1.1: from day 5, three times to day 8)",
    )
    train_from_day: int | None = Field(
        default=None,
        ge=1,
        description="first day that VMs train on, all methods alike; left out: the first supervised, or 5 with windows",
    )
    cascade: CascadeConfig | None = Field(
        default=None, description="also what the VMs of three stages show together; left out: each VM alone"
    )


class DasConfig(Section):
    """The data augmentation service."""

    lease_seconds: Positive = Field(default=60.0, description="of the latest pointer; extended at half of it")
    poll_seconds: Positive = Field(default=0.2, description="how often a replica looks for another snapshot")
    swap_timeout_seconds: Positive = Field(default=600.0, description="wait for a replica to load a snapshot")
    rows_per_request: int = Field(default=16_384, ge=1, le=1_048_576)
    batch_rows: int = Field(
        default=16_384, ge=1, le=1_048_576, description="most rows of small requests that are predicted together"
    )
    batch_wait_seconds: float = Field(default=0.002, ge=0, le=1, description="wait for more rows to fill a batch")
    queued_rows: int = Field(
        default=262_144, ge=1, le=1_073_741_824, description="per replica; a request beyond them is turned away"
    )
    precision: Precision = Field(
        default="float32",
        description="of the matrix products of the FM's answers; bf16 is faster where the hardware has it, and rounds",
    )
    pointer: str | None = Field(
        default=None,
        description=f"where the latest pointer lives: {POINTER_FORM}, with the run's name added; left out: in the run, "
        "or in the cluster where the run is on object storage",
    )
    feedback: FeedbackConfig | None = Field(default=None, description="left out: all labels are there at once")

    @field_validator("pointer")
    @classmethod
    def _has_a_form(cls, pointer: str | None) -> str | None:
        if pointer is not None:
            pointer_place(pointer)
        return pointer


class ResourcesConfig(Section):
    """Where the work runs. Nothing here changes a result."""

    mode: Literal["ray", "local"] = Field(default="ray", description="local: the same code in this process, to debug")
    fm_replicas: int = Field(default=1, ge=1, le=1_024)
    fm_replicas_most: int | None = Field(
        default=None, ge=1, le=1_024, description="replicas grow from fm_replicas to this by load; left out: fixed"
    )
    fleet_workers: int | Literal["auto"] = Field(
        default="auto", description="Ray Train workers that share the VMs' variants (methods, seeds)"
    )
    fleet_workers_least: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="with which the fleet starts and goes on while nodes are missing; left out: waits for all",
    )
    augment_tasks: int = Field(default=1, ge=1, le=4_096, description="Ray Data tasks at once")
    gpus_per_fm: float = Field(default=0, ge=0)
    gpus_per_vm: float = Field(default=0, ge=0, description="per fleet worker")
    fm_accelerator: Name | None = Field(
        default=None, description="type of GPU for the FM's trainer and replicas, as Ray names it: L4, A100, H100, …"
    )
    vm_accelerator: Name | None = Field(default=None, description="the same for the fleet's workers")
    fm_nodes: Name | None = Field(
        default=None, description="custom resource of the nodes that the FM's trainer and replicas may run on"
    )
    vm_nodes: Name | None = Field(default=None, description="the same for the fleet's workers, such as spot")
    coming_nodes: tuple[ComingNodes, ...] = Field(
        default=(), description="that the cluster's autoscaler may add: a recipe that needs them is not refused"
    )
    kept_gib: float = Field(
        default=2.0, ge=0, description="memory in which a fleet worker keeps VMs between their days; others are reread"
    )
    max_failures: int = Field(default=3, ge=0, le=100, description="restarts of a Ray Train run")
    start_timeout_seconds: Positive = Field(
        default=900.0,
        description="wait for the cluster to give a Ray Train run or the FM's replicas what they need, nodes that it "
        "adds for them included; in all of max_failures tries together",
    )
    wait_timeout_seconds: Positive = Field(default=3_600.0, description="wait of one step for the step before it")

    @field_validator("fleet_workers")
    @classmethod
    def _some(cls, workers: int | str) -> int | str:
        if isinstance(workers, int) and not 1 <= workers <= 10_000:
            raise ValueError("must be auto or from 1 to 10000")
        return workers

    @field_validator("gpus_per_fm", "gpus_per_vm")
    @classmethod
    def _can_be_given(cls, gpus: float) -> float:
        if (0 < gpus < 0.0001) or (gpus > 1 and gpus != int(gpus)):
            raise ValueError("must be 0, a part of one GPU from 0.0001 on, or a whole number of GPUs")
        return gpus

    @property
    def fm_placement(self) -> Placement:
        """Of the FM's trainer, and of each replica."""
        return Placement(self.gpus_per_fm, self.fm_accelerator, self.fm_nodes)

    @property
    def vm_placement(self) -> Placement:
        """Of each of the fleet's workers."""
        return Placement(self.gpus_per_vm, self.vm_accelerator, self.vm_nodes)

    @model_validator(mode="after")
    def _has_gpus_of_its_type(self) -> "ResourcesConfig":
        for kind, placement in (("fm", self.fm_placement), ("vm", self.vm_placement)):
            if placement.accelerator and not placement.gpus:
                raise ValueError(
                    f"{kind}_accelerator {placement.accelerator!r} needs GPUs; set gpus_per_{kind}, or leave it out"
                )
        return self

    @model_validator(mode="after")
    def _grows(self) -> "ResourcesConfig":
        if self.fm_replicas_most is not None and self.fm_replicas_most < self.fm_replicas:
            raise ValueError(
                f"fm_replicas_most {self.fm_replicas_most} is less than fm_replicas {self.fm_replicas}; raise it"
            )
        least, workers = self.fleet_workers_least, self.fleet_workers
        if least is not None and workers != "auto" and least > workers:
            raise ValueError(f"fleet_workers_least {least} is more than fleet_workers {workers}; lower it")
        return self


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
