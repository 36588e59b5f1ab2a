"""Parameter counts equal the published ones of BARS exactly, on all three data sets."""

import pytest

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
from exfm_ray.schema import Schema
from tests.models.published_data import AMAZON, AMAZON_SEQUENCES, KUAIVIDEO, TAOBAO, TAOBAO_SEQUENCES, count

TAOBAO_HIDDEN, HIDDEN = (512, 256, 128), (1024, 512, 256)

TAOBAO_DMIN = DminModel(
    embedding_dim=32,
    groups=(InterestGroup(targets=tuple(TAOBAO_SEQUENCES.values()), sequences=tuple(TAOBAO_SEQUENCES)),),
    attention_hidden=(512, 256),
    position_dim=4,
    max_length=50,
    hidden=TAOBAO_HIDDEN,
)
AMAZON_DMIN = DminModel(
    embedding_dim=64,
    groups=(InterestGroup(targets=("item", "cate"), sequences=tuple(AMAZON_SEQUENCES)),),
    heads=8,
    refiner=True,
    attention_hidden=(256, 128),
    attention_activation="dice",
    position_dim=4,
    max_length=100,
    hidden=HIDDEN,
    batch_norm=True,
)
KUAIVIDEO_DMIN = DminModel(
    embedding_dim=64,
    groups=(
        InterestGroup(targets=("item", "visual"), sequences=("pos_items", "pos_visual")),
        InterestGroup(targets=("item", "visual"), sequences=("neg_items", "neg_visual")),
    ),
    heads=2,
    attention_hidden=(512, 256),
    hidden=HIDDEN,
    activation="dice",
)

PUBLISHED: list[tuple[Schema, ModelConfig, int]] = [
    (TAOBAO, FamModel(embedding_dim=32), 43_057_715),
    (TAOBAO, FmFamModel(embedding_dim=32, interaction="vectorized"), 43_063_795),
    (TAOBAO, DeepFamModel(embedding_dim=32, hidden=TAOBAO_HIDDEN), 43_550_260),
    (TAOBAO, DcnModel(embedding_dim=32, cross_layers=2, hidden=TAOBAO_HIDDEN), 41_938_177),
    (TAOBAO, DcnV2Model(embedding_dim=32, cross_layers=4, hidden=TAOBAO_HIDDEN), 43_576_577),
    (TAOBAO, TAOBAO_DMIN, 42_347_786),
    (AMAZON, FamModel(embedding_dim=64), 4_211_197),
    (AMAZON, FmFamModel(embedding_dim=64, interaction="matrixed"), 4_235_773),
    (AMAZON, DeepFamModel(embedding_dim=64, hidden=HIDDEN, batch_norm=True), 5_134_334),
    (AMAZON, DcnModel(embedding_dim=64, cross_layers=6, hidden=HIDDEN), 5_006_465),
    (AMAZON, DcnV2Model(embedding_dim=64, cross_layers=2, hidden=HIDDEN, batch_norm=True), 5_138_561),
    (AMAZON, AMAZON_DMIN, 8_107_401),
    (KUAIVIDEO, FamModel(embedding_dim=64), 52_760_572),
    (KUAIVIDEO, FmFamModel(embedding_dim=64, interaction="matrixed"), 52_846_588),
    (KUAIVIDEO, DeepFamModel(embedding_dim=64, hidden=HIDDEN), 53_876_733),
    (KUAIVIDEO, DcnModel(embedding_dim=64, cross_layers=3, hidden=HIDDEN), 42_245_697),
    (KUAIVIDEO, DcnV2Model(embedding_dim=64, cross_layers=2, hidden=HIDDEN, batch_norm=True), 42_648_897),
    (KUAIVIDEO, KUAIVIDEO_DMIN, 44_479_237),
]
NAMES = {id(TAOBAO): "taobao", id(AMAZON): "amazon", id(KUAIVIDEO): "kuaivideo"}


@pytest.mark.parametrize(
    ("schema", "model", "parameters"), PUBLISHED, ids=[f"{NAMES[id(s)]}-{m.type}" for s, m, _ in PUBLISHED]
)
def test_count_is_the_published_one(schema: Schema, model: ModelConfig, parameters: int) -> None:
    assert count(model, schema) == parameters
