"""What a recipe may say: one pydantic model per section, checked whole before anything starts.

A mistake becomes a `UserError` of one line that names the field, the value found, what is allowed and how to mend it.
No import here is slow, so that a wrong recipe is told at once.
"""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from exfm_ray.schema import METHODS, Method, Schema

Positive = Annotated[float, Field(gt=0)]
Width = Annotated[int, Field(ge=1, le=65_536)]
Dropout = Annotated[float, Field(ge=0, lt=1, description="share of an MLP's hidden units that a training step drops")]
BatchNorm = Annotated[bool, Field(description="normalize an MLP's hidden layers over the batch, before their ReLU")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]

LEAKING_SUFFIXES = ("_cnt", "_num")
"""KuaiRand's counters are averages over the whole month, so they know the days to come."""


class Section(BaseModel):
    """A section of a recipe: immutable, and unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# ------------------------------------------------------------------------------------------------ data


class DriftData(Section):
    """The synthetic drifting ads stream (data/drift.py)."""

    type: Literal["drift"] = "drift"
    days: int = Field(ge=3, le=9_999, description="a day to train the FM, one to train VMs, one to evaluate at least")
    events_per_day: int = Field(ge=100, le=10**11, description="over all domains and stages together")
    domains: int = Field(default=3, ge=1, le=64)
    stages: tuple[Literal["retrieval", "early", "later"], ...] = Field(
        default=("retrieval", "early", "later"), min_length=1, description="each gets an equal share of the events"
    )
    tasks: tuple[Literal["click", "like", "conversion"], ...] = Field(default=("click",), min_length=1)
    seed: int = Field(default=0, ge=0, description="of the world; `seeds` of the recipe are those of the VMs")
    parts_per_day: int = Field(default=4, ge=1, le=100_000, description="time slices, each generated on its own")
    users: int = Field(default=30_000, ge=100, le=10**9)
    ads: int = Field(default=3_000, ge=10, le=10**8)
    base_logit: float = Field(default=-5.9, ge=-15, le=5, description="-5.9 gives click rates of 1 to 3 percent")

    @field_validator("stages", "tasks")
    @classmethod
    def _distinct(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) != len(values):
            raise ValueError("names must differ from each other")
        return values


KuaiRandTask = Literal["click", "long_view", "like", "follow", "profile_enter"]


class KuaiRandData(Section):
    """KuaiRand-Pure's standard log (data/kuairand.py): official CSV, the same tables as Parquet, or prepared days."""

    type: Literal["kuairand"] = "kuairand"
    path: str = Field(min_length=1, description="directory of the raw tables, or of what `exfm prepare` wrote")
    tasks: tuple[KuaiRandTask, ...] = Field(default=("click", "long_view", "like"), min_length=1)
    first_date: date = Field(default=date(2022, 4, 25), description="Beijing time; earlier rows only feed histories")
    last_date: date = Field(default=date(2022, 5, 8), description="Beijing time, inclusive")
    domains: tuple[tuple[int, ...], ...] = Field(
        default=((1,), (0,), (4,), ()), min_length=1, description="values of `tab` per domain; () takes all others"
    )
    history_length: int = Field(default=20, ge=1, le=500, description="latest long-viewed videos before the event")
    user_columns: tuple[str, ...] = (
        "user_active_degree",
        "is_live_streamer",
        "is_video_author",
        "register_days_range",
        *(f"onehot_feat{index}" for index in range(18)),
    )
    item_columns: tuple[str, ...] = ("author_id", "video_type", "upload_type", "music_id", "music_type", "tag")

    @field_validator("user_columns", "item_columns")
    @classmethod
    def _no_leak(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        for column in columns:
            if column.endswith(LEAKING_SUFFIXES):
                raise ValueError(f"{column} is a counter over the whole month and leaks the days to come; leave it out")
        return columns

    @model_validator(mode="after")
    def _check(self) -> "KuaiRandData":
        if (self.last_date - self.first_date).days < 2:
            raise ValueError(f"last_date {self.last_date} must be two days after first_date {self.first_date} or later")
        tabs = [tab for domain in self.domains for tab in domain]
        if len(set(tabs)) != len(tabs) or sum(not domain for domain in self.domains) > 1:
            raise ValueError("each tab may stand in one domain only, and only one domain may take all others")
        return self


class PartitionsData(Section):
    """Day partitions that exist already."""

    type: Literal["partitions"] = "partitions"
    path: str = Field(min_length=1)


DataConfig = Annotated[DriftData | KuaiRandData | PartitionsData, Field(discriminator="type")]

# ---------------------------------------------------------------------------------------------- models


FirstOrderStart = Annotated[
    Literal["clean", "fuxictr"],
    Field(description="of first-order tables; fuxictr: those of sequences start at N(0, 1), as in FuxiCTR since 2.1.0"),
]


class FamModel(Section):
    """Factorization machine (Rendle 2010)."""

    type: Literal["fam"] = "fam"
    embedding_dim: Width = 16
    init: FirstOrderStart = "clean"


class FmFamModel(Section):
    """Field-matrixed factorization machine (Sun 2021)."""

    type: Literal["fmfam"] = "fmfam"
    embedding_dim: Width = 16
    interaction: Literal["matrixed", "vectorized"] = Field(
        default="matrixed", description="what stands between the embeddings of two fields: a full or a diagonal matrix"
    )
    init: FirstOrderStart = "clean"


class DeepFamModel(Section):
    """Factorization machine beside an MLP on the same embeddings (Guo 2017)."""

    type: Literal["deepfam"] = "deepfam"
    embedding_dim: Width = 16
    init: FirstOrderStart = "clean"
    hidden: tuple[Width, ...] = Field(default=(64, 32), min_length=1)
    dropout: Dropout = 0.0
    batch_norm: BatchNorm = False


class DcnV2Model(Section):
    """Full-rank cross network in parallel with an MLP (Wang 2021)."""

    type: Literal["dcnv2"] = "dcnv2"
    embedding_dim: Width = 16
    cross_layers: int = Field(default=2, ge=1, le=32)
    hidden: tuple[Width, ...] = Field(default=(128, 64), min_length=1)
    dropout: Dropout = 0.0
    batch_norm: BatchNorm = False
    tower_hidden: tuple[Width, ...] = Field(default=(), description="of each task's tower; (): one linear output each")


class DcnModel(Section):
    """Cross network of vectors in parallel with an MLP (Wang 2017)."""

    type: Literal["dcn"] = "dcn"
    embedding_dim: Width = 16
    cross_layers: int = Field(default=2, ge=1, le=32)
    hidden: tuple[Width, ...] = Field(default=(128, 64), min_length=1)
    dropout: Dropout = 0.0
    batch_norm: BatchNorm = False


class DlrmModel(Section):
    """Dot products between fields, and an MLP on top of them (Naumov 2019)."""

    type: Literal["dlrm"] = "dlrm"
    embedding_dim: Width = 16
    bottom_hidden: tuple[Width, ...] = Field(
        default=(64,), description="from numeric features to the embeddings' width"
    )
    top_hidden: tuple[Width, ...] = Field(default=(64, 32), min_length=1)


class TwoTowerModel(Section):
    """Two towers, one of user fields and one of item fields, that meet in a dot product."""

    type: Literal["two_tower"] = "two_tower"
    embedding_dim: Width = 16
    item_fields: tuple[str, ...] = Field(min_length=1, description="features of the item tower; users have all others")
    hidden: tuple[Width, ...] = Field(default=(64,), min_length=1, description="of each tower")
    tower_dim: Width = Field(default=32, description="length of each tower's output")


class InterestGroup(Section):
    """Features of a target, and the sequences that hold the same features of what came before it."""

    targets: tuple[str, ...] = Field(min_length=1, description="categorical features")
    sequences: tuple[str, ...] = Field(min_length=1, description="one per target, all of the same length in every row")

    @model_validator(mode="after")
    def _check(self) -> "InterestGroup":
        if len(self.targets) != len(self.sequences):
            raise ValueError(
                f"targets names {len(self.targets)} features but sequences {len(self.sequences)}; give one per target"
            )
        for names, what in ((self.targets, "targets"), (self.sequences, "sequences")):
            if len(set(names)) != len(names):
                raise ValueError(f"{what} repeats a name; leave each once")
        return self


class DminModel(Section):
    """Deep multi-interest network: attention over histories, several interests per target (Xiao 2020)."""

    type: Literal["dmin"] = "dmin"
    embedding_dim: Width = 16
    groups: tuple[InterestGroup, ...] = Field(min_length=1)
    heads: int = Field(default=1, ge=1, le=64, description="interests per group; divides embedding_dim x targets")
    refiner: bool = Field(default=False, description="a self-attention layer on the history before all else")
    attention_hidden: tuple[Width, ...] = Field(default=(64, 32), min_length=1, description="of the target's attention")
    attention_activation: Literal["relu", "dice"] = "relu"
    position_dim: int = Field(default=0, ge=0, le=1_024, description="of a position's vector; 0: no positions")
    max_length: int = Field(default=50, ge=1, le=10_000, description="positions told apart, from the oldest element on")
    hidden: tuple[Width, ...] = Field(default=(128, 64), min_length=1)
    activation: Literal["relu", "dice"] = "relu"
    batch_norm: bool = Field(default=False, description="of what enters the hidden layers")
    tower_hidden: tuple[Width, ...] = Field(default=(), description="of each task's tower; (): one linear output each")

    @model_validator(mode="after")
    def _check(self) -> "DminModel":
        for group in self.groups:
            if self.embedding_dim * len(group.targets) % self.heads:
                raise ValueError(
                    f"heads: {self.heads} must divide embedding_dim x targets of every group, "
                    f"but one has {self.embedding_dim} x {len(group.targets)}"
                )
        return self

    def disagreement(self, schema: Schema) -> str | None:
        """The first feature of a group that the schema lacks, told in one line."""
        for index, group in enumerate(self.groups):
            for field, names, kind in (
                ("targets", group.targets, "categorical"),
                ("sequences", group.sequences, "sequence"),
            ):
                known = [feature.name for feature in schema.of_kind(kind)]
                for name in names:
                    if name not in known:
                        allowed = ", ".join(known) or "none"
                        return f"groups.{index}.{field}: {name!r} is no {kind} feature of the data; it has {allowed}"
        return None


MULTI_TASK_TYPES = ("dcn", "dcnv2", "dlrm", "dmin")
"""Architectures that predict several tasks at once, as an FM of several tasks must."""

ModelConfig = Annotated[
    FamModel | FmFamModel | DeepFamModel | DcnModel | DcnV2Model | DlrmModel | DminModel | TwoTowerModel,
    Field(discriminator="type"),
]


class OptimizerConfig(Section):
    """Adam for the dense part; embedding tables are updated only where a batch touches them."""

    learning_rate: Positive = 2e-3
    embedding: Literal["lazy_adam", "adagrad"] = "lazy_adam"
    embedding_learning_rate: Positive | None = Field(default=None, description="as learning_rate where it is left out")
    batch_size: int = Field(default=512, ge=1, le=1_048_576, description="rows")


# ------------------------------------------------------------------------------------- FM, VMs, methods


class FoundationModelConfig(Section):
    """The teacher."""

    name: Name = "fm"
    model: ModelConfig = DcnV2Model()
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1.5e-3, batch_size=1024)
    train_from_day: int = Field(default=1, ge=1)
    staleness_days: int = Field(default=0, ge=0, description="days that the FM is held back further than the clock")
    seed: int = Field(default=0, ge=0)


class AdapterConfig(Section):
    """The student adapter: a residual MLP on the FM's logit that starts as the identity (Eq. 6)."""

    hidden: tuple[Width, ...] = Field(default=(16,), min_length=1)
    learning_rate: Positive = 1e-2


class DistillConfig(Section):
    """How the FM's supervision enters a VM's loss (Eq. 5 and 7)."""

    label_scale: float = Field(default=1.0, gt=0, description="alpha, LS: pseudo-label times alpha, clipped at 1")
    grad_scale: float = Field(default=1.0, ge=0, description="beta, GS: of the gradient from distillation head to x")
    loss_weight: float = Field(default=1.0, ge=0, description="w, LW: of the distillation loss")
    head_hidden: tuple[Width, ...] = Field(default=(16,), description="hidden layers of each distillation head")
    adapter: AdapterConfig = AdapterConfig()


class VerticalModelConfig(Section):
    """One student: a domain, a stage and a task."""

    name: Name
    domain: int = Field(default=0, ge=0)
    stage: str = "later"
    task: str = "click"
    model: ModelConfig = DeepFamModel()
    optimizer: OptimizerConfig = OptimizerConfig()
    methods: tuple[Method, ...] | None = Field(default=None, description="as the recipe's where it is left out")
    distill: DistillConfig = Field(default=DistillConfig(), description="what is left out is as in the recipe's")


class EvaluateConfig(Section):
    """Which days report."""

    protocol: Literal["streaming"] = "streaming"
    train_from_day: int | None = Field(
        default=None,
        ge=1,
        description="first day that VMs train on, all methods alike; left out: the first supervised",
    )


class DasConfig(Section):
    """The data augmentation service."""

    lease_seconds: Positive = Field(default=60.0, description="of the latest pointer; extended at half of it")
    poll_seconds: Positive = Field(default=0.2, description="how often a replica looks for another snapshot")
    swap_timeout_seconds: Positive = Field(default=600.0, description="wait for a replica to load a snapshot")
    rows_per_request: int = Field(default=16_384, ge=1, le=1_048_576)


class ResourcesConfig(Section):
    """Where the work runs. Nothing here changes a result."""

    mode: Literal["ray", "local"] = Field(default="ray", description="local: the same code in this process, to debug")
    fm_replicas: int = Field(default=1, ge=1, le=1_024)
    fleet_workers: int | Literal["auto"] = Field(default="auto", description="Ray Train workers that share the VMs")
    augment_tasks: int = Field(default=1, ge=1, le=4_096, description="Ray Data tasks at once")
    gpus_per_fm: float = Field(default=0, ge=0)
    gpus_per_vm: float = Field(default=0, ge=0, description="per fleet worker")
    max_failures: int = Field(default=3, ge=0, le=100, description="restarts of a Ray Train run")
    wait_timeout_seconds: Positive = Field(default=3_600.0, description="wait of one step for the step before it")

    @field_validator("fleet_workers")
    @classmethod
    def _some(cls, workers: int | str) -> int | str:
        if isinstance(workers, int) and not 1 <= workers <= 10_000:
            raise ValueError("must be auto or from 1 to 10000")
        return workers


class Recipe(Section):
    """One simulation."""

    name: Name
    seeds: tuple[Annotated[int, Field(ge=0, le=2**31)], ...] = Field(default=(0,), min_length=1)
    data: DataConfig
    fm: FoundationModelConfig = FoundationModelConfig()
    vms: tuple[VerticalModelConfig, ...] = Field(min_length=1)
    methods: tuple[Method, ...] = Field(default=METHODS, min_length=1)
    distill: DistillConfig = DistillConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    das: DasConfig = DasConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="before")
    @classmethod
    def _vms_inherit_distill(cls, content: Any) -> Any:
        """Complete each VM's `distill` by the recipe's; a wrong one is left for the fields' own checks to tell."""
        if not isinstance(content, dict) or not isinstance(content.get("vms"), list | tuple):
            return content
        shared = content.get("distill", {})
        try:
            shared = DistillConfig.model_validate(shared).model_dump()
        except ValidationError:
            return content
        vms = [
            vm | {"distill": shared | vm.get("distill", {})}
            if isinstance(vm, dict) and isinstance(vm.get("distill", {}), dict)
            else vm
            for vm in content["vms"]
        ]
        return content | {"vms": vms}

    @model_validator(mode="after")
    def _check(self) -> "Recipe":
        names = [vm.name for vm in self.vms] + [self.fm.name]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the name {name!r} is given to more than one of fm and vms; rename one")
        for values, what in ((self.seeds, "seeds"), (self.methods, "methods")):
            if len(set(values)) != len(values):
                raise ValueError(f"{what} repeats a value; leave each once")
        return self

    def distill_of(self, vm: VerticalModelConfig) -> DistillConfig:
        """The distillation of a VM: the recipe's with what the VM overrides."""
        return vm.distill

    def methods_of(self, vm: VerticalModelConfig) -> tuple[Method, ...]:
        return vm.methods if vm.methods is not None else self.methods

    @property
    def first_supervised_day(self) -> int:
        """The first day t for which FM(t - 1 - staleness) exists."""
        return self.fm.train_from_day + 1 + self.fm.staleness_days

    @property
    def first_vm_day(self) -> int:
        """The first day that VMs train on."""
        return self.evaluate.train_from_day or self.first_supervised_day
