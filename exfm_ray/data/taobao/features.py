"""TaobaoAd's features, and the one id that stands for what is missing in each of its columns."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.config import TaobaoData
from exfm_ray.data.taobao.files import AD_IDS, HISTORIES, USER_ATTRIBUTES
from exfm_ray.schema import Feature, Schema

Integers = NDArray[np.int64]

PUBLISHED_ROWS = {
    "userid": 403_958,
    "adgroup_id": 246_851,
    "cate_id": 11_330,
    "campaign_id": 191_771,
    "customer": 132_136,
    "brand": 308_870,
}
"""FuxiCTR's vocabularies of TaobaoAd_x1, ids seen 10 times or more, with padding and out-of-vocabulary."""
MISSING_ID = -1
"""A missing id of a hashed column: an ad that ad_feature.csv lacks, or a brand that is NULL."""


@dataclass(frozen=True)
class Levels:
    """A column of few levels, which are rows of its embedding table as they are."""

    rows: int
    missing: int
    """what stands for an empty field, a user without a profile, and a value that the official files do not have"""


LEVELS = {
    "cms_segid": Levels(98, 97),
    "cms_group_id": Levels(14, 13),
    "final_gender_code": Levels(3, 0),
    "age_level": Levels(8, 7),
    "pvalue_level": Levels(4, 0),
    "shopping_level": Levels(4, 0),
    "occupation": Levels(3, 2),
    "new_user_class_level": Levels(5, 0),
}
PIDS = ("430539_1007", "430548_1007")
"""The two positions on the page, stored as 0 and 1."""
BTAGS = ("pv", "cart", "fav", "buy")
"""Kinds of behaviour, stored as 1 to 4."""
CANDIDATE_BTAG = 1
"""An impression is compared with page views."""


def coded(column: str, values: pa.ChunkedArray) -> tuple[Integers, int]:
    """(N,) levels of a user attribute, and how many values were no level, not counting missing ones.

    Args:
        values: N numbers, null where missing.
    """
    levels = LEVELS[column]
    numbers = values.fill_null(np.nan).to_numpy()
    fits = (numbers >= 0) & (numbers < levels.rows) & (numbers % 1 == 0)
    odd = int((~fits & ~np.isnan(numbers)).sum())
    return np.where(fits, numbers, levels.missing).astype(np.int64), odd


def taobao_schema(config: TaobaoData, *, histories: bool) -> Schema:
    """Of the days: 16 categorical features, the price, and the histories of behaviours where there are any."""
    lenders = ("cate_id", "brand", "btag")
    sequences = [
        Feature(name=name, kind="sequence", shares=shared, owner="userid")
        for name, shared in zip(HISTORIES, lenders, strict=True)
    ]
    return Schema(
        features=(
            _hashed("userid", config),
            *(_levels(name, LEVELS[name].rows) for name in USER_ATTRIBUTES),
            *(_hashed(name, config) for name in ("adgroup_id", *AD_IDS)),
            _levels("pid", len(PIDS)),
            _levels("btag", len(BTAGS) + 1),
            Feature(name="price", kind="numeric"),
            *(sequences if histories else []),
        ),
        tasks=("click",),
        domains=domain_names(config),
        stages=("later",),
    )


def _hashed(name: str, config: TaobaoData) -> Feature:
    return Feature(name=name, kind="categorical", rows=max(1, round(PUBLISHED_ROWS[name] * config.table_scale)))


def _levels(name: str, rows: int) -> Feature:
    return Feature(name=name, kind="categorical", rows=rows, encoding="identity")


def level_count(column: str) -> int:
    """Number of levels of a column that may become domains, the one for missing values among them."""
    return len(PIDS) if column == "pid" else LEVELS[column].rows


def domain_names(config: TaobaoData) -> tuple[str, ...]:
    """What a user calls each domain; which levels were merged into a group is decided by the training days."""
    column = config.domain_column
    if column is None:
        return ("all",)
    if config.domains is None:
        return tuple(f"{column} {level}" for level in range(level_count(column)))
    return tuple(f"{column} group {group}" for group in range(1, config.domains + 1))
