"""The model sections: one per architecture."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from exfm_ray.config.section import Section, Width
from exfm_ray.schema import Schema

Dropout = Annotated[float, Field(ge=0, lt=1, description="share of an MLP's hidden units that a training step drops")]
BatchNorm = Annotated[bool, Field(description="normalize an MLP's hidden layers over the batch, before their ReLU")]
TowerHidden = Annotated[
    tuple[Width, ...], Field(description="of each task's tower (hard parameter sharing); (): one linear output each")
]

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


class _CrossNetwork(Section):
    """What both versions of the deep and cross network say."""

    embedding_dim: Width = 16
    cross_layers: int = Field(default=2, ge=1, le=32)
    hidden: tuple[Width, ...] = Field(default=(128, 64), min_length=1)
    dropout: Dropout = 0.0
    batch_norm: BatchNorm = False
    tower_hidden: TowerHidden = ()


class DcnModel(_CrossNetwork):
    """Cross network of vectors in parallel with an MLP (Wang 2017)."""

    type: Literal["dcn"] = "dcn"


class DcnV2Model(_CrossNetwork):
    """Full-rank cross network in parallel with an MLP (Wang 2021)."""

    type: Literal["dcnv2"] = "dcnv2"


class DlrmModel(Section):
    """Dot products between fields, and an MLP on top of them (Naumov 2019)."""

    type: Literal["dlrm"] = "dlrm"
    embedding_dim: Width = 16
    bottom_hidden: tuple[Width, ...] = Field(
        default=(64,), description="from numeric features to the embeddings' width"
    )
    top_hidden: tuple[Width, ...] = Field(default=(64, 32), min_length=1)
    tower_hidden: TowerHidden = ()


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
    attention_dropout: Dropout = Field(default=0.0, description="of the target's attention")
    head_dropout: Dropout = Field(default=0.0, description="of a head's output, before the history is added to it")
    hidden: tuple[Width, ...] = Field(default=(128, 64), min_length=1)
    activation: Literal["relu", "dice"] = "relu"
    dropout: Dropout = 0.0
    batch_norm: bool = Field(default=False, description="of what enters the hidden layers")
    tower_hidden: TowerHidden = ()

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


InteractionBlock = Literal["fm", "linear", "cross", "attention"]


class WukongModel(Section):
    """Stacked interaction layers whose size is one knob (Zhang 2024); all four blocks make it a DHEN (Zhang 2022)."""

    type: Literal["wukong"] = "wukong"
    size: float = Field(
        default=1.0,
        ge=0.1,
        le=10_000,
        description="training FLOPs grow about in proportion to it: all widths are those below times its square root",
    )
    embedding_dim: Width = Field(default=8, description="does not change with the size, nor do the tables")
    layers: int = Field(default=2, ge=1, le=64)
    blocks: tuple[InteractionBlock, ...] = Field(default=("fm", "linear"), min_length=1)
    block_embeddings: Width = Field(default=3, description="that each block of a layer makes, at size 1")
    rank: Width = Field(default=2, description="columns that an fm block compresses its products to, at size 1")
    block_hidden: tuple[Width, ...] = Field(default=(16,), description="of an fm block's MLP, at size 1")
    hidden: tuple[Width, ...] = Field(default=(32,), min_length=1, description="after the last layer, at size 1")
    tower_hidden: TowerHidden = ()

    @property
    def embeddings_of_block(self) -> int:
        return self.scaled((self.block_embeddings,))[0]

    def scaled(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        """Widths at this size."""
        return tuple(max(1, round(width * self.size**0.5)) for width in widths)


MULTI_TASK_TYPES = ("dcn", "dcnv2", "dlrm", "dmin", "wukong")
"""Architectures that predict several tasks at once, as an FM of several tasks must."""

ModelConfig = Annotated[
    FamModel | FmFamModel | DeepFamModel | DcnModel | DcnV2Model | DlrmModel | DminModel | TwoTowerModel | WukongModel,
    Field(discriminator="type"),
]


def whole_batch_field(model: ModelConfig) -> str | None:
    """The first field that makes what a row gives in training depend on the batch's other rows, or on how many precede
    it: normalization over the batch, and dropout. None where no field does."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if ("dropout" in name and value > 0) or value == "dice" or (name == "batch_norm" and value):
            return name
    return None
