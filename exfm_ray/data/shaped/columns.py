"""The drifting world's users and items under the columns of each public data set.

Columns of user and item are hashes of their ids, so they are the same in every event and in every history. What models
can learn of tastes stands in them: `cms_segid` and `cms_group_id` tell the user's cluster, categories and brands the
item's, and histories what the user took to.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.config import AmazonData, DriftData, KuaiVideoData, TaobaoData
from exfm_ray.data.drift.events import Impressions
from exfm_ray.data.drift.tables import log_uniform
from exfm_ray.data.drift.world import CATEGORIES, CLUSTERS
from exfm_ray.data.hashing import Draws, Floats, Integers, Words, fraction
from exfm_ray.data.shaped.choices import Items
from exfm_ray.data.shaped.shape import CHOSEN, RANDOM
from exfm_ray.data.taobao.features import CANDIDATE_BTAG, LEVELS, MISSING_ID, PUBLISHED_ROWS, level_count

Before = Callable[[int, int], tuple[NDArray[np.int32], Items, Words]]
"""(stage, length) → what each event's user met before it: offsets (n + 1,), items and words between them"""
Columns = dict[str, Integers | NDArray[np.float32] | pa.ListArray]

AMAZON_CATEGORIES = 801
SAME_CAMPAIGN = 0.41
"""Share of ads that go on with the campaign of the ad before them in their place."""
SAME_BRAND = 0.5
"""Share of choices of the very brand of the item's ad; the others are of another brand of the same advertiser."""
BRANDS_PER_ADVERTISER = 11
BRAND_MISSING = 0.291
PVALUE_MISSING = 0.542
CLASS_SHARES = (0.325, 0.04, 0.27, 0.21, 0.155)
"""Of new_user_class_level, the missing one (0) first."""
OCCUPIED = 0.06
PAGE_VIEWS, WITH_CARTS, WITH_FAVOURITES = 0.955, 0.977, 0.989
"""Shares of btag among choices, cumulated: pv, cart, fav; the rest is buy."""
FIRST_PID = 0.38


def taobao_columns(config: TaobaoData, world: DriftData, seen: Impressions, before: Before) -> Columns:
    """TaobaoAd's features but for the domain."""
    items = Items.of(seen.ads, seen.ad)
    ids = seen.users.id.take(seen.user)
    profile = user_attributes(world, ids, seen.users.cluster.take(seen.user), seen.users.age.take(seen.user))
    offsets, chosen, words = before(CHOSEN, config.history_length)
    return {
        "userid": ids,
        **profile,
        "adgroup_id": items.id,
        "cate_id": categories(items, world, round(PUBLISHED_ROWS["cate_id"] * config.scale)),
        "campaign_id": _campaigns(items, world),
        "customer": items.id % world.ads,
        "brand": _brands_of_ads(items, world),
        "pid": (seen.draws.uniform("pid") > FIRST_PID).astype(np.int64),
        "btag": np.full(len(ids), CANDIDATE_BTAG),
        "price": _prices(items, world),
        "cate_his": _lists(offsets, categories(chosen, world, round(PUBLISHED_ROWS["cate_id"] * config.scale))),
        "brand_his": _lists(offsets, _brands_of_choices(chosen, words, world)),
        "btag_his": _lists(offsets, 1 + _steps(fraction(words, 16), (PAGE_VIEWS, WITH_CARTS, WITH_FAVOURITES))),
    }


def amazon_columns(config: AmazonData, world: DriftData, seen: Impressions, before: Before) -> Columns:
    """Amazon Electronics' features."""
    items = Items.of(seen.ads, seen.ad)
    offsets, chosen, _ = before(CHOSEN, config.history_length)
    count = round(AMAZON_CATEGORIES * config.scale)
    return {
        "user_id": seen.users.id.take(seen.user),
        "item_id": items.id,
        "cate_id": categories(items, world, count),
        "item_history": _lists(offsets, chosen.id),
        "cate_history": _lists(offsets, categories(chosen, world, count)),
    }


def kuaivideo_columns(config: KuaiVideoData, seen: Impressions, before: Before) -> Columns:
    """KuaiVideo's features; neg_items were met by popularity alone."""
    columns: Columns = {"user_id": seen.users.id.take(seen.user), "item_id": seen.ads.id.take(seen.ad)}
    if config.histories == "none":
        return columns
    for name, stage in (("pos_items", CHOSEN), ("neg_items", RANDOM)):
        offsets, items, _ = before(stage, config.history_length)
        columns[name] = _lists(offsets, items.id)
    return columns


def categories(items: Items, world: DriftData, count: int) -> Integers:
    """(n,) ids in [0, about count): finer than the world's categories where the data set has more."""
    finer = max(1, round(count / CATEGORIES))
    return items.category * finer + Draws.of(items.advertiser, world.seed, "finer category").below("part", finer)


def user_attributes(world: DriftData, ids: Integers, clusters: Integers, ages: Integers) -> dict[str, Integers]:
    """TaobaoAd's eight columns of user_profile.csv; all (n,)."""
    draws = Draws.of(ids, world.seed, "profile")
    return {
        "cms_segid": clusters * 4 + draws.below("segment", 4),
        "cms_group_id": clusters // 2,
        "final_gender_code": 1 + (draws.uniform("gender") < clusters * 7 % CLUSTERS / CLUSTERS).astype(np.int64),
        "age_level": ages % (LEVELS["age_level"].rows - 1),
        "pvalue_level": np.where(draws.uniform("no value") < PVALUE_MISSING, 0, 1 + draws.below("value", 3)),
        "shopping_level": 1 + draws.below("shopping", 3),
        "occupation": (draws.uniform("occupation") < OCCUPIED).astype(np.int64),
        "new_user_class_level": _steps(draws.uniform("class"), np.cumsum(CLASS_SHARES[:-1])),
    }


def level_counts(config: TaobaoData, world: DriftData) -> Integers:
    """(levels,) of the column that becomes domains: how often each comes, in proportion."""
    column = config.domain_column
    if column is None:
        return np.ones(1, dtype=np.int64)
    if column == "pid":
        return np.array([round(100 * FIRST_PID), round(100 - 100 * FIRST_PID)])
    many = np.arange(100_000)
    levels = user_attributes(world, many, many % CLUSTERS, many % 8)[column]
    return np.bincount(levels, minlength=level_count(column))


def _steps(uniform: Floats, edges: "tuple[float, ...] | Floats") -> Integers:
    """(n,) how many edges each number reaches."""
    return np.searchsorted(np.asarray(edges), uniform, side="right").astype(np.int64)


def _campaigns(items: Items, world: DriftData) -> Integers:
    goes_on = Draws.of(items.id, world.seed, "campaign").uniform("goes on") < SAME_CAMPAIGN
    return np.where(goes_on & (items.id >= world.ads), items.id - world.ads, items.id)


def _own_brands(items: Items, world: DriftData) -> Integers:
    part = Draws.of(items.id % world.ads, world.seed, "brand").below("part", BRANDS_PER_ADVERTISER)
    return items.advertiser * BRANDS_PER_ADVERTISER + part


def _brands_of_ads(items: Items, world: DriftData) -> Integers:
    missing = Draws.of(items.id, world.seed, "no brand").uniform("missing") < BRAND_MISSING
    return np.where(missing, MISSING_ID, _own_brands(items, world))


def _brands_of_choices(items: Items, words: Words, world: DriftData) -> Integers:
    other = (fraction(words << np.uint64(32), 16) * BRANDS_PER_ADVERTISER).astype(np.int64)
    same = fraction(words << np.uint64(16), 16) < SAME_BRAND
    return np.where(same, _own_brands(items, world), items.advertiser * BRANDS_PER_ADVERTISER + other)


def _prices(items: Items, world: DriftData) -> NDArray[np.float32]:
    """log(1 + price), as the files' reader has it."""
    cents = log_uniform(Draws.of(items.id, world.seed, "price").words("price"), 100, 1_000_000)
    return np.log1p(cents / 100).astype(np.float32)


def _lists(offsets: NDArray[np.int32], values: Integers) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.int64()))
