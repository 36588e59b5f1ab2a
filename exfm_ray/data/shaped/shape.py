"""How large the public data sets are and how often their labels are positive: what a stream of their shape keeps."""

from dataclasses import dataclass

from exfm_ray.config import AmazonData, DriftData, KuaiVideoData, PublicData, TaobaoData

PUBLISHED_DAYS = 8
WARM_UP_DAYS = 30
"""Day 1 of a stream is this day of the drifting world, so that what came before it is there too."""
ITEM_TURNOVER, USER_TURNOVER = 2.19, 1.18
"""Distinct ads and users of the drifting world over PUBLISHED_DAYS, per slot (drift_world.AD_LIFE, USER_LIFE)."""
STAGES = ("retrieval", "later")
"""Of the drifting world: one item by popularity alone, or the best of several for the user."""
RANDOM, CHOSEN = 0, 1
"""Places in STAGES: what is shown to a user, and what a user takes to."""


@dataclass(frozen=True)
class Label:
    """A task's logit: base + shared * (terms of user and item) + terms of its own, if it has any."""

    base: float
    shared: float = 1.0
    own: str | None = None
    """the drifting world's task whose terms it takes"""


@dataclass(frozen=True)
class Shape:
    """A data set at its own size."""

    rows: int
    users: int
    items: int
    labels: dict[str, Label]
    taste: float
    """weight of what user and item are to each other"""
    user_bias: float
    """weight of a user's bias; 0 where each user has as many positives as negatives"""
    history_days: int
    """what was chosen in so many days before an event, and on its day, may stand in its histories"""


TAOBAO = Shape(
    rows=25_029_426,
    users=403_957,
    items=246_850,
    labels={"click": Label(base=-3.83)},
    taste=0.6,
    user_bias=0.6,
    history_days=14,
)
AMAZON = Shape(
    rows=2_993_570,
    users=192_403,
    items=63_001,
    labels={"review": Label(base=-0.36)},
    taste=1.2,
    user_bias=0.0,
    history_days=7,
)
KUAIVIDEO = Shape(
    rows=13_661_383,
    users=10_000,
    items=632_404,
    labels={
        "click": Label(base=-2.19),
        "like": Label(base=-6.7, shared=0.6, own="like"),
        "follow": Label(base=-7.78, shared=0.5, own="conversion"),
    },
    taste=0.8,
    user_bias=0.8,
    history_days=14,
)


def shape_of(config: PublicData) -> Shape:
    """The shape of the data set that a section names."""
    if isinstance(config, TaobaoData):
        return TAOBAO
    if isinstance(config, AmazonData):
        return AMAZON
    assert isinstance(config, KuaiVideoData)
    return KUAIVIDEO


def world_of(config: PublicData, days: int) -> DriftData:
    """The drifting world behind the stream, of the data set's size times the scale."""
    shape, scale = shape_of(config), config.scale
    return DriftData(
        days=days + WARM_UP_DAYS,
        events_per_day=max(100, round(shape.rows * scale / PUBLISHED_DAYS)),
        domains=1,
        stages=STAGES,
        tasks=("click", "like", "conversion") if len(shape.labels) > 1 else ("click",),
        seed=config.stream_seed,
        users=max(100, round(shape.users * scale / USER_TURNOVER)),
        ads=max(10, round(shape.items * scale / ITEM_TURNOVER)),
    )
