"""Schemas with the vocabularies of the published data sets, pad and out-of-vocabulary rows included."""

import torch

from exfm_ray.config import ModelConfig
from exfm_ray.models.build import build_model
from exfm_ray.schema import Feature, Schema


def published(vocabulary: dict[str, int], sequences: dict[str, str], numeric: tuple[str, ...] = ()) -> Schema:
    """`vocabulary` has the rows of each categorical feature; `sequences` says whose table each sequence shares."""
    features = [Feature(name=name, kind="categorical", rows=rows) for name, rows in vocabulary.items()]
    features += [Feature(name=name, kind="numeric") for name in numeric]
    features += [Feature(name=name, kind="sequence", shares=shares) for name, shares in sequences.items()]
    return Schema(features=tuple(features), tasks=("click",), domains=("all",), stages=("later",))


TAOBAO_SEQUENCES = {"cate_his": "cate", "brand_his": "brand", "btag_his": "btag"}
TAOBAO = published(
    {
        "user": 403_958,
        "adgroup": 246_851,
        "cate": 11_330,
        "campaign": 191_771,
        "customer": 132_136,
        "brand": 308_870,
        "cms_segid": 99,
        "cms_group": 15,
        "gender": 4,
        "age": 9,
        "pvalue": 6,
        "shopping": 5,
        "occupation": 4,
        "class": 7,
        "pid": 4,
        "btag": 6,
    },
    TAOBAO_SEQUENCES,
    ("price",),
)

AMAZON_SEQUENCES = {"item_history": "item", "cate_history": "cate"}
AMAZON = published({"item": 63_003, "cate": 803}, AMAZON_SEQUENCES)

VISUAL_ROWS, VISUAL_DIM = 3_242_317, 64
KUAIVIDEO = published(
    {"user": 10_002, "item": 632_406, "visual": VISUAL_ROWS},
    {"pos_items": "item", "neg_items": "item", "pos_visual": "visual", "neg_visual": "visual"},
)


def count(model: ModelConfig, schema: Schema) -> int:
    """Learned parameters; on the meta device, which allocates nothing.

    KuaiVideo's visual vectors are given, not learned, and read through three 64 × 64 projections without bias: of the
    candidate, the positive and the negative history. So their table is taken away and the projections are added.
    """
    with torch.device("meta"):
        learned = build_model(model, schema, 1).parameter_count()
    return learned if schema is not KUAIVIDEO else learned - VISUAL_ROWS * VISUAL_DIM + 3 * VISUAL_DIM**2
