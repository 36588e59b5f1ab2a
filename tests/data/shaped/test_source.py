"""Streams in the shape of the public data sets."""

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from exfm_ray.config import AmazonData, KuaiVideoData, TaobaoData
from exfm_ray.data.amazon.source import AmazonSource
from exfm_ray.data.dataset import open_dataset, raw_log
from exfm_ray.data.drift.tables import MILLISECONDS_PER_DAY
from exfm_ray.data.partitions import arrow_schema
from exfm_ray.data.shaped import choices as shaped_choices
from exfm_ray.data.shaped import source as shaped
from exfm_ray.data.shaped.choices import choice_log, choices_of_day
from exfm_ray.data.shaped.shape import CHOSEN, WARM_UP_DAYS, shape_of, world_of
from exfm_ray.data.shaped.source import ShapedConfig, ShapedSource, shaped_source
from exfm_ray.data.taobao.features import PUBLISHED_ROWS, taobao_schema
from exfm_ray.errors import UserError
from exfm_ray.schema import label_column

SMALL = (TaobaoData(scale=0.001), AmazonData(scale=0.01), KuaiVideoData(scale=0.002))
LARGER = (TaobaoData(scale=0.01), AmazonData(scale=0.05), KuaiVideoData(scale=0.02))
RATES = {"review": 0.5, "click": None, "like": 0.00304, "follow": 0.00099}
CLICK_RATES = {"taobao": 0.0514, "kuaivideo": 0.2024}

each_small = pytest.mark.parametrize("config", SMALL, ids=[config.type for config in SMALL])
each_larger = pytest.mark.parametrize("config", LARGER, ids=[config.type for config in LARGER])


def day_of(source: ShapedSource, day: int) -> pa.Table:
    return pa.concat_tables([source.part(day, part) for part in range(source.parts(day))]).combine_chunks()


def forget() -> None:
    shaped_choices._whole_log.cache_clear()
    shaped_choices._whole_day.cache_clear()


@each_small
def test_days_have_the_columns_of_their_schema_in_the_order_of_time(config: ShapedConfig) -> None:
    source = shaped_source(config)
    table = day_of(source, 2)
    assert table.schema.equals(arrow_schema(source.schema()))
    assert all(column.null_count == 0 for column in table.columns)
    times = table["event_time"].to_numpy()
    assert (np.diff(times) >= 0).all()
    assert times[0] >= MILLISECONDS_PER_DAY
    assert times[-1] < 2 * MILLISECONDS_PER_DAY
    ids = [*day_of(source, 1)["event_id"].to_pylist(), *table["event_id"].to_pylist()]
    assert ids == list(range(len(ids)))


@each_small
def test_any_part_made_alone_equals_the_whole(config: ShapedConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = day_of(shaped_source(config), 5)
    monkeypatch.setattr(shaped, "PART_ROWS", 700)
    monkeypatch.setattr(shaped, "CHUNK_ROWS", 256)
    forget()
    source = pickle.loads(pickle.dumps(shaped_source(config)))
    parts = source.parts(5)
    assert parts > 3
    tables = [source.part(5, part) for part in reversed(range(parts))]
    assert pa.concat_tables(tables[::-1]).combine_chunks().equals(whole)


def test_a_world_too_large_to_be_kept_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = day_of(shaped_source(SMALL[0]), 3)
    monkeypatch.setattr(shaped_choices, "WHOLE_TABLE_SLOTS", 10)
    assert day_of(shaped_source(SMALL[0]), 3).equals(whole)


@each_small
def test_another_seed_is_another_stream(config: ShapedConfig) -> None:
    other = shaped_source(config.model_copy(update={"stream_seed": 1}))
    assert not day_of(other, 1).equals(day_of(shaped_source(config), 1))


def test_histories_hold_the_users_choices_strictly_before_the_event() -> None:
    """Against a plain loop over the log of choices."""
    config = SMALL[1].model_copy(update={"user_rows": 10_000, "history_length": 5})
    source = ShapedSource(config)
    table = day_of(source, 4).to_pandas().iloc[::37]
    world, days = world_of(config, config.days), shape_of(config).history_days
    today = 4 + WARM_UP_DAYS
    slots = np.arange(world.users)
    past = [choices_of_day(world, CHOSEN, day, slots) for day in range(today - days, today + 1)]
    log = pd.DataFrame(
        {
            "user": np.concatenate([day.users for day in past]),
            "time": np.concatenate([day.times for day in past]) - WARM_UP_DAYS * MILLISECONDS_PER_DAY,
            "item": np.concatenate([day.items.id for day in past]),
        }
    ).sort_values("time", kind="stable")
    assert len(table) > 90
    for row in table.itertuples():
        before = log[(log["user"] == row.user_id) & (log["time"] < row.event_time)]
        assert list(row.item_history) == before["item"].tolist()[-5:]


def test_an_event_at_the_moment_of_a_choice_does_not_know_it() -> None:
    config = SMALL[1]
    world = world_of(config, config.days)
    log = choice_log(world, CHOSEN, 40, 3, np.arange(world.users))
    users, times = log.choices.users[:200], log.choices.times[:200]
    at, _, _ = log.before(users, times, 1_000)
    after, items, _ = log.before(users, times + 1, 1_000)
    assert (np.diff(after) == np.diff(at) + 1).all()
    assert (items.id[after[1:] - 1] == log.choices.items.id[:200]).all()


@pytest.mark.parametrize("config", SMALL[1:], ids=["amazon", "kuaivideo"])
def test_a_day_does_not_depend_on_days_to_come(config: AmazonData | KuaiVideoData) -> None:
    """The same days come out of a stream that ends earlier."""
    shorter = config.model_copy(update={"days": 4})
    assert day_of(shaped_source(shorter), 4).equals(day_of(shaped_source(config), 4))


@each_larger
def test_sizes_and_base_rates_are_the_data_sets_own_times_the_scale(config: ShapedConfig) -> None:
    source = shaped_source(config)
    table = pa.concat_tables([day_of(source, day) for day in range(1, 9)])
    shape = shape_of(config)
    assert table.num_rows == pytest.approx(shape.rows * config.scale, rel=0.001)
    for task in source.schema().tasks:
        rate = float(table[label_column(task)].to_numpy().mean())
        assert rate == pytest.approx(RATES[task] or CLICK_RATES[config.type], rel=0.2)
        assert rate == pytest.approx(float(table[f"truth_{task}"].to_numpy().mean()), rel=0.15)
    item = "adgroup_id" if isinstance(config, TaobaoData) else "item_id"
    assert len(table[item].unique()) == pytest.approx(shape.items * config.scale, rel=0.15)
    for feature in source.schema().of_kind("categorical"):
        if feature.encoding == "identity":
            values = table[feature.name].to_numpy()
            assert values.min() >= 0
            assert values.max() < feature.rows


def test_taobaos_columns_are_its_readers_and_its_ids_are_as_many() -> None:
    config = LARGER[0]
    source = shaped_source(config)
    schema = source.schema()
    expected = taobao_schema(config, histories=True)
    assert [(f.name, f.kind, f.shares) for f in schema.features] == [
        (f.name, f.kind, f.shares) for f in expected.features
    ]
    assert schema.domains == expected.domains
    table = pa.concat_tables([day_of(source, day) for day in range(1, 9)])
    for name in ("userid", "adgroup_id", "cate_id", "campaign_id", "customer"):
        assert len(table[name].unique()) == pytest.approx(PUBLISHED_ROWS[name] * config.scale, rel=0.2), name
    shares = np.bincount(table["domain"].to_numpy()) / table.num_rows
    assert len(shares) == 3
    assert shares.min() > 0.28
    levels = pd.crosstab(table["new_user_class_level"].to_numpy(), table["domain"].to_numpy())
    assert ((levels > 0).sum(axis=1) == 1).all()


def test_tables_of_the_files_reader_shrink_with_the_scale() -> None:
    config = AmazonData(path="somewhere")
    whole = AmazonSource(config).schema()
    rows = [feature.rows for feature in whole.of_kind("categorical")]
    small = ShapedSource(AmazonData(scale=0.1)).schema()
    assert [feature.rows for feature in small.of_kind("categorical")] == [round(0.1 * count) for count in rows]
    assert ShapedSource(AmazonData(scale=1.0)).schema().features == whole.features


def test_attributes_tell_of_the_click() -> None:
    """Users of one segment click on one category more or less often than the two alone say."""
    table = day_of(shaped_source(TaobaoData(scale=0.05)), 1).to_pandas()
    truth = table["truth_click"]
    spread = table.groupby(["cms_segid", "cate_id"])["truth_click"].transform("mean")
    assert np.corrcoef(spread, truth)[0, 1] > 0.4


def test_histories_tell_of_the_label() -> None:
    """An item of a category that the user chose before is liked more often."""
    table = day_of(shaped_source(AmazonData(scale=0.05)), 1).to_pandas()
    known = np.array(
        [category in set(past) for category, past in zip(table["cate_id"], table["cate_history"], strict=True)]
    )
    assert table["label_review"][known].mean() > table["label_review"][~known].mean() + 0.1


@each_small
def test_without_a_path_the_dataset_is_the_stream(config: ShapedConfig) -> None:
    data = open_dataset(config)
    assert data.source == ShapedSource(config)
    assert data.days == 8


def test_what_only_the_files_have_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.path: is missing"):
        raw_log(TaobaoData())
    with pytest.raises(UserError, match=r"data\.histories: 'published' are the lists"):
        open_dataset(KuaiVideoData(histories="published"))


def test_batches_shrink_with_the_stream_and_not_with_files() -> None:
    assert TaobaoData(scale=0.01).batch_rows(8_192) == 82
    assert TaobaoData(scale=0.0001).batch_rows(8_192) == 16
    assert TaobaoData(scale=0.01).batch_rows(8) == 8
    assert TaobaoData(path="days", scale=0.01).batch_rows(8_192) == 8_192
