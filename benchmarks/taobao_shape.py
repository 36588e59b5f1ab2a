"""Synthetic rows with the features, vocabularies and history lengths that BARS publishes for TaobaoAd_x1."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.data.partitions import arrow_schema
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, STAGE, Feature, Schema

Features = Literal["seq", "cat20"]
Lengths = Callable[[np.random.Generator, int], NDArray[np.int64]]
"""(count,) lengths of that many histories, from 0 to HISTORY_LENGTH"""

HISTORY_LENGTH = 50
VOCABULARY = {
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
}
HISTORIES = {"cate_his": "cate", "brand_his": "brand", "btag_his": "btag"}
INSTEAD_OF_HISTORIES = {"cate_last": 11_330, "brand_last": 308_870, "btag_last": 6, "price_bucket": 1_000}


def schema_of(features: Features, times: int = 1) -> Schema:
    """`seq`: 16 categorical features, a price and three histories; `cat20`: twenty categorical features.

    Args:
        times: that every vocabulary is larger than the published one.
    """
    vocabulary = VOCABULARY if features == "seq" else VOCABULARY | INSTEAD_OF_HISTORIES
    listed = [
        Feature(name=name, kind="categorical", rows=times * rows, encoding="identity")
        for name, rows in vocabulary.items()
    ]
    if features == "seq":
        listed.append(Feature(name="price", kind="numeric"))
        listed += [Feature(name=name, kind="sequence", shares=shares) for name, shares in HISTORIES.items()]
    return Schema(features=tuple(listed), tasks=("click",), domains=("a", "b", "c"), stages=("later",))


def full_histories(_: np.random.Generator, count: int) -> NDArray[np.int64]:
    return np.full(count, HISTORY_LENGTH)


def synthetic_rows(schema: Schema, first: int, last: int, lengths: Lengths = full_histories) -> pa.Table:
    """Rows of ids `first` up to `last`; ids of features follow Zipf's law with exponent 1, 5 of 100 labels are 1.

    Args:
        lengths: of the rows' histories; all histories of a row have the same.
    """
    generator, count = np.random.default_rng(first), last - first
    rows_of = {feature.name: feature.rows for feature in schema.of_kind("categorical")}
    columns: dict[str, pa.Array | NDArray[np.generic]] = {
        EVENT_ID: np.arange(first, last),
        EVENT_TIME: np.arange(first, last),
        DOMAIN: generator.integers(0, len(schema.domains), count).astype(np.int16),
        STAGE: np.zeros(count, np.int16),
        "label_click": (generator.random(count) < 0.05).astype(np.int8),
    }
    offsets = np.concatenate([[0], np.cumsum(lengths(generator, count))]).astype(np.int32)
    for feature in schema.features:
        match feature.kind:
            case "categorical":
                columns[feature.name] = _zipf(generator, feature.rows, count)
            case "numeric":
                columns[feature.name] = generator.random(count, dtype=np.float32)
            case "sequence":
                values = _zipf(generator, rows_of[feature.shares or ""], int(offsets[-1]))
                columns[feature.name] = pa.ListArray.from_arrays(offsets, values)
    expected = arrow_schema(schema)
    return pa.table({name: columns[name] for name in expected.names}, schema=expected)


def _zipf(generator: np.random.Generator, rows: int, count: int) -> NDArray[np.int64]:
    """Ids from 1 to rows − 1 where there are that many, the k-th about as often as 1 / k."""
    ids: NDArray[np.int64] = np.minimum(np.exp(generator.random(count) * np.log(rows)), rows - 1).astype(np.int64)
    return ids
