"""What benchmarks/train.py compares: models of the published sizes, in settings that differ in their histories."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from taobao_shape import HISTORIES, HISTORY_LENGTH, Features, Lengths, full_histories

from exfm_ray.config import (
    DcnModel,
    DcnV2Model,
    DeepFamModel,
    DminModel,
    FamModel,
    FmFamModel,
    InterestGroup,
    ModelConfig,
)

DIM = 32
HIDDEN = (512, 256, 128)
DMIN = "DMIN"
MODELS: Mapping[str, ModelConfig] = {
    "FaM": FamModel(embedding_dim=DIM),
    "DeepFaM": DeepFamModel(embedding_dim=DIM, hidden=HIDDEN),
    "DCN": DcnModel(embedding_dim=DIM, cross_layers=2, hidden=HIDDEN, dropout=0.1),
    "DCNv2": DcnV2Model(embedding_dim=DIM, cross_layers=4, hidden=HIDDEN, dropout=0.1),
    "FmFaM": FmFamModel(embedding_dim=DIM, interaction="vectorized"),
    DMIN: DminModel(
        embedding_dim=DIM,
        groups=(InterestGroup(targets=tuple(HISTORIES.values()), sequences=tuple(HISTORIES)),),
        attention_hidden=(512, 256),
        attention_dropout=0.2,
        position_dim=4,
        max_length=HISTORY_LENGTH,
        hidden=HIDDEN,
    ),
}
"""As BARS publishes them for TaobaoAd_x1; no counterpart of theirs has a layer or a number more or less."""

REGULARIZER = {"FaM": 5e-7, "DeepFaM": 5e-6, "DCN": 5e-6, "DCNv2": 5e-6, "FmFaM": 1e-7, DMIN: 5e-6}
"""The L2 weight that BARS publishes with each."""

PARAMETERS = {
    ("seq", "FaM"): 43_057_715,
    ("seq", "DeepFaM"): 43_550_260,
    ("seq", "DCN"): 41_938_177,
    ("seq", "DCNv2"): 43_576_577,
    ("seq", "FmFaM"): 43_063_795,
    ("seq", DMIN): 42_347_786,
}
"""As published."""

KUAIRAND_LENGTHS = (
    "4626 6186 7297 7601 7995 8857 8774 9141 8952 8838 9167 8695 8449 8198 8136 7488 7280 6994 6711 6235 "
    "5835 5321 5127 4787 4417 4244 4059 3825 3387 3220 2840 2583 2378 2111 1942 1731 1428 1305 1140 982 "
    "803 695 514 433 372 311 247 187 157 108 619"
)
"""Events of KuaiRand-Pure, 25 April to 8 May 2022, whose history of long-viewed videos has 0, 1, … 50 of them."""
NOT_FULL = 0.01
"""of the histories in `seq99`"""


def nearly_full(generator: np.random.Generator, count: int) -> NDArray[np.int64]:
    """One of a hundred is shorter, from empty on."""
    shorter = generator.integers(0, HISTORY_LENGTH, count)
    return np.where(generator.random(count) < NOT_FULL, shorter, HISTORY_LENGTH)


def as_in_kuairand(generator: np.random.Generator, count: int) -> NDArray[np.int64]:
    """15 elements on average; one of fifty has none."""
    events = np.array(KUAIRAND_LENGTHS.split(), dtype=np.int64)
    return generator.choice(len(events), count, p=events / events.sum())


@dataclass(frozen=True)
class Setting:
    """What rows have."""

    features: Features
    lengths: Lengths = full_histories

    def has(self, model: str) -> bool:
        """Whether the model can be built from the features: DMIN reads histories."""
        return model != DMIN or self.features == "seq"


SETTINGS = {
    "seq": Setting("seq"),
    "seq99": Setting("seq", nearly_full),
    "kuairand": Setting("seq", as_in_kuairand),
    "cat20": Setting("cat20"),
}
