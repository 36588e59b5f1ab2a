import hashlib
import math
import os
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from exfm_ray.config import DriftData
from exfm_ray.data.drift import tables as drift_tables
from exfm_ray.data.drift.source import DriftSource, cells
from exfm_ray.data.drift.world import AD_LIFE, USER_LIFE, ads_in, domain_bias, find_ads, find_users, living, users_in
from exfm_ray.data.hashing import Draws, fraction, key
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import arrow_schema, committed_days, read_rows, row_count, write_partition
from exfm_ray.data.source import DaySource
from exfm_ray.errors import UserError

TASKS = ("click", "like", "conversion")
SMALL = DriftData(days=9, events_per_day=4_001, users=2_000, ads=300, tasks=TASKS)
PINNED_DAY = "898541c753f8c0522b5f59ad5318fc5ed60788d2704a147f04331bace263af61"
PINNED_TABLES = "67f8e24ae0d9cd4611894e3455a74e7b9f10b81b7a6c2277f4319857f4ba28fb"


def digest_of_day(config: DriftData, day: int = 3) -> str:
    """Of every column's values, and of nulls, in order."""
    source = DriftSource(config)
    table = pa.concat_tables([source.part(day, part) for part in range(source.parts(day))])
    digest = hashlib.sha256(repr(table.column_names).encode())
    for column in table.columns:
        chunk = column.combine_chunks()
        digest.update(chunk.is_null().to_numpy(zero_copy_only=False).tobytes())
        digest.update(chunk.fill_null(0).to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()


@cache
def large_day() -> pd.DataFrame:
    """A day that is large enough for statistics."""
    source = DriftSource(DriftData(days=5, events_per_day=240_000, tasks=TASKS, parts_per_day=1))
    day: pd.DataFrame = source.part(4, 0).to_pandas()
    return day


# ---------------------------------------------------------------------------------------- the same bits


def test_a_day_is_the_pinned_bits() -> None:
    assert digest_of_day(SMALL) == PINNED_DAY


def test_tables_are_the_pinned_bits() -> None:
    tables = [
        drift_tables.normal_table(),
        drift_tables.cauchy_table(),
        drift_tables.cosine_table(),
        drift_tables.sigmoid_table(),
        drift_tables.frequency_table(),
        drift_tables.day_curve(),
        drift_tables.log_uniform_table(300, 86_400),
    ]
    assert hashlib.sha256(b"".join(table.tobytes() for table in tables)).hexdigest() == PINNED_TABLES


def test_a_fresh_process_without_vector_instructions_makes_the_same_bits() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_source; "
        "print(test_source.digest_of_day(test_source.SMALL))"
    )
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    environment = {**os.environ, "PYTHONHASHSEED": "7", "NPY_DISABLE_CPU_FEATURES": " ".join(found)}
    command = [sys.executable, "-c", script, os.path.dirname(__file__)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == digest_of_day(SMALL)


def test_a_pickled_source_makes_the_same_part() -> None:
    source: DaySource = DriftSource(SMALL)
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    assert copy.part(2, 1).equals(source.part(2, 1))


def test_seeds_differ() -> None:
    other = DriftSource(SMALL.model_copy(update={"seed": 1})).part(3, 0)
    ours = DriftSource(SMALL).part(3, 0)
    assert not np.array_equal(other["user_view_0"].to_numpy()[:100], ours["user_view_0"].to_numpy()[:100])
    assert digest_of_day(SMALL.model_copy(update={"seed": 1})) != PINNED_DAY


@pytest.mark.parametrize("parts", [1, 3, 1_000])
def test_parts_cut_a_day_without_changing_it(parts: int) -> None:
    config = SMALL.model_copy(update={"events_per_day": 500})
    cut = DriftSource(config.model_copy(update={"parts_per_day": parts}))
    whole = DriftSource(config.model_copy(update={"parts_per_day": 1})).part(3, 0)
    step = max(parts // 20, 1)
    for part in range(0, parts, step):
        start, end = (2 * 86_400_000 + 86_400_000 * edge // parts for edge in (part, part + 1))
        times = whole["event_time"].to_numpy()
        assert cut.part(3, part).equals(whole.filter(pa.array((times >= start) & (times < end))))


def test_slots_made_alone_are_those_of_the_whole_day() -> None:
    slots = np.array([7, 3, 250])
    for make, count in ((users_in, SMALL.users), (ads_in, SMALL.ads)):
        some, everything = make(SMALL, 5, slots), make(SMALL, 5, np.arange(count))
        assert np.array_equal(some.id, everything.id[slots])
        assert np.array_equal(some.factors, everything.factors[:, slots])
        assert np.array_equal(some.view, everything.view[:, slots])
        assert np.array_equal(some.own["like"], everything.own["like"][slots])


def test_a_world_too_large_for_whole_tables_is_the_same_world() -> None:
    config = DriftData(days=3, events_per_day=900, users=10**9, ads=10**8, parts_per_day=1)
    slots = np.array([[9, 10**8 - 1], [9, 4]])
    for find, make in ((find_users, users_in), (find_ads, ads_in)):
        table, rows = find(config, 2, slots)
        assert len(table.id) == 3
        assert np.array_equal(table.factors[0][rows], make(config, 2, slots.ravel()).factors[0].reshape(2, 2))
    assert DriftSource(config).part(2, 0).num_rows == 900


# ------------------------------------------------------------------------------------ rows, order, ids


@pytest.mark.parametrize("events", [100, 101, 4_001])
@pytest.mark.parametrize("parts", [1, 7])
def test_a_day_has_exactly_its_events_in_order(events: int, parts: int) -> None:
    source = DriftSource(SMALL.model_copy(update={"events_per_day": events, "parts_per_day": parts}))
    days = {day: pa.concat_tables([source.part(day, part) for part in range(parts)]) for day in (1, 2, 9)}
    ids = np.concatenate([table["event_id"].to_numpy() for table in days.values()])
    assert len(np.unique(ids)) == len(ids) == 3 * events
    for day, table in days.items():
        assert table.schema.equals(arrow_schema(source.schema()))
        times, ids = table["event_time"].to_numpy(), table["event_id"].to_numpy()
        assert times[0] >= (day - 1) * 86_400_000
        assert times[-1] < day * 86_400_000
        order = np.lexsort((ids, times))
        assert np.array_equal(order, np.arange(events))


def test_the_largest_day_has_its_place() -> None:
    config = DriftData(days=9_999, events_per_day=10**11, domains=64, parts_per_day=100_000, users=1_000, ads=100)
    last = cells(config, 9_999)[-1]
    assert last.first_event_id + last.count == 9_999 * 10**11
    for cell in (cells(config, 9_999)[0], last):
        for millisecond in (1, 43_200_000, 86_399_999):
            first = cell.first_at(config, millisecond)
            edge = np.array([first - 1, first])
            before, after = cell.times(cell.draws(config, edge), edge)
            assert before < millisecond <= after
        assert cell.first_at(config, 0) == 0
        assert cell.first_at(config, 86_400_000) == cell.count


def test_domains_and_stages_have_their_shares() -> None:
    sizes = large_day().groupby(["domain", "stage"]).size().to_numpy().reshape(3, 3)
    expected = 240_000 / (1 + 1 / 2 + 1 / 3) / 3
    np.testing.assert_allclose(sizes, [[expected / (k + 1)] * 3 for k in range(3)], atol=1)


def test_traffic_follows_the_day() -> None:
    hours = large_day().groupby("hour").size()
    assert len(hours) == 24
    assert hours.idxmax() in (16, 17)
    assert hours.idxmin() in (4, 5)
    assert hours.max() / hours.min() == pytest.approx(1.6 / 0.4, rel=0.05)
    assert np.array_equal(large_day()["hour"], large_day()["event_time"] // 3_600_000 % 24)


@pytest.mark.parametrize(("day", "part", "found"), [(0, 0, "day: 0"), (10, 0, "day: 10"), (1, 4, "part: 4")])
def test_what_is_not_there_is_the_users_mistake(day: int, part: int, found: str) -> None:
    with pytest.raises(UserError, match=found) as error:
        DriftSource(SMALL).part(day, part)
    assert "\n" not in str(error.value)


def test_parts_are_written_and_read_back(tmp_path: Path) -> None:
    source = DriftSource(SMALL)
    dataset = Location(str(tmp_path))
    tables = [source.part(2, part) for part in range(source.parts(2))]
    write_partition(dataset, 2, tables, source.schema())
    assert committed_days(dataset) == [2]
    assert row_count(dataset, 2) == SMALL.events_per_day
    names = tables[0].column_names
    assert pa.concat_tables(read_rows(dataset.day(2), names)).equals(pa.concat_tables(tables))


# -------------------------------------------------------------------------------------------- features


def test_features_fit_their_tables() -> None:
    day = large_day()
    schema = DriftSource(DriftData(days=5, events_per_day=240_000, tasks=TASKS)).schema()
    for feature in schema.of_kind("categorical"):
        values = day[feature.name]
        assert values.min() >= 0
        if feature.encoding == "identity":
            assert values.max() < feature.rows
    assert day["frequency"].mean() == pytest.approx(0.8 * 1 + 0.2 * 3, abs=0.15)
    assert len(schema.for_vm().of_kind("categorical")) == 10
    assert [feature.name for feature in schema.for_vm().of_kind("numeric")] == [
        "service_feature_0",
        "service_feature_1",
    ]
    assert len(schema.of_kind("numeric")) == 18


def test_a_fifth_of_the_events_shows_a_wrong_cluster() -> None:
    day = large_day()
    table = users_in(DriftData(days=5, events_per_day=240_000, tasks=TASKS), 4, np.arange(30_000))
    true = pd.Series(table.cluster, index=table.id)[day["user_id"]].to_numpy()
    assert np.mean(true != day["cluster_id"]) == pytest.approx(0.2, abs=0.005)


def test_views_are_factors_under_unit_noise() -> None:
    today, tomorrow = (users_in(SMALL, day, np.arange(SMALL.users)) for day in (4, 5))
    noise = today.view - today.factors
    assert noise.std() == pytest.approx(1.0, abs=0.03)
    same = today.id == tomorrow.id
    assert abs(np.corrcoef(noise[0][same], (tomorrow.view - tomorrow.factors)[0][same])[0, 1]) < 0.1
    assert np.corrcoef(today.factors[0][same], tomorrow.factors[0][same])[0, 1] > 0.95


def test_popular_users_and_ads_have_zipf_shares() -> None:
    ranks = drift_tables.zipf_rank(fraction(Draws.of(np.arange(200_000), 0, "rank").words("zipf")), 3_000, 10)
    counts = np.bincount(ranks, minlength=3_000)
    assert ranks.max() < 3_000
    exact = ((np.arange(3_001) + 1) ** 0.1 - 1) / (3_000**0.1 - 1)
    np.testing.assert_allclose(np.cumsum(counts)[[0, 9, 99, 999]] / 200_000, exact[[1, 10, 100, 1_000]], atol=0.005)


# ------------------------------------------------------------------------------------- churn and drift


@pytest.mark.parametrize(
    ("life", "after_a_day", "after_a_week"), [(USER_LIFE, 0.97, 0.82), (AD_LIFE, 0.81, 0.10)], ids=["users", "ads"]
)
def test_entities_leave_at_the_measured_pace(life: tuple[int, int], after_a_day: float, after_a_week: float) -> None:
    slots = np.arange(30_000)
    today, tomorrow, next_week = (living(slots, day, life, 30_000, 0, "slot")[0] for day in (20, 21, 27))
    assert len(np.unique(np.concatenate([today, next_week]))) == 60_000 - np.sum(today == next_week)
    assert np.mean(today == tomorrow) == pytest.approx(after_a_day, abs=0.015)
    assert np.mean(today == next_week) == pytest.approx(after_a_week, abs=0.02)


def test_ages_count_the_days_of_a_life() -> None:
    ids, ages = living(np.arange(1_000), 20, AD_LIFE, 1_000, 0, "slot")
    for day in (21, 22):
        next_ids, next_ages = living(np.arange(1_000), day, AD_LIFE, 1_000, 0, "slot")
        assert np.array_equal(next_ages, np.where(next_ids == ids, ages + 1, 0))
        ids, ages = next_ids, next_ages


@pytest.mark.parametrize("waves", [3, 16])
def test_drift_forgets_exponentially(waves: int) -> None:
    draws = Draws.of(np.arange(40_000), 5, "autocorrelation")
    start = drift_tables.drifting(draws, "x", 1, 4, 6.0, waves)[0]
    assert start.mean() == pytest.approx(0.0, abs=0.02)
    assert start.var() == pytest.approx(1.0, abs=0.03)
    for days in (1, 3, 6, 12):
        later = drift_tables.drifting(draws, "x", 1, 4 + days, 6.0, waves)[0]
        assert np.mean(start * later) == pytest.approx(math.exp(-days / 6.0), abs=0.03)


def test_domain_biases_are_spread_evenly() -> None:
    np.testing.assert_allclose(domain_bias(3), [0.5, -0.05, -0.6])
    assert domain_bias(1).tolist() == [0.0]


# -------------------------------------------------------------------------------------- feedback, truth


def test_click_rates_are_near_the_measured_ones() -> None:
    """Measured: domain 0 by stage 1.4, 2.5, 3.7 %; later stage by domain 3.0-3.8, 2.5-3.0, 0.9-1.1 %."""
    rates = large_day().groupby(["domain", "stage"])["label_click"].mean().to_numpy().reshape(3, 3)
    assert np.all(np.diff(rates, axis=1) > 0)
    np.testing.assert_allclose(rates[0], [0.014, 0.025, 0.037], rtol=0.25)
    np.testing.assert_allclose(rates[:, 2], [0.034, 0.0275, 0.010], rtol=0.35)


def test_the_oracle_leaves_the_measured_entropy() -> None:
    truth = large_day()["truth_click"].astype(np.float64)[(large_day()["domain"] == 0) & (large_day()["stage"] == 2)]

    def entropy(p: "pd.Series[float] | float") -> float:
        return float(np.mean(-(p * np.log(p) + (1 - p) * np.log(1 - p))))

    assert entropy(truth) / entropy(float(truth.mean())) == pytest.approx(0.76, abs=0.03)


@pytest.mark.parametrize("task", TASKS)
def test_labels_are_drawn_from_the_truth(task: str) -> None:
    truth = large_day()[f"truth_{task}"].astype(np.float64)
    label = large_day()[f"label_{task}"]
    assert 0 < truth.min() < truth.max() < 1
    groups = pd.qcut(truth, 5, labels=False)
    for group in range(5):
        chosen = groups == group
        sigma = math.sqrt((truth * (1 - truth))[chosen].sum())
        assert abs(label[chosen].sum() - truth[chosen].sum()) < 4 * sigma
    assert label.sum() > 50


def test_a_conversion_needs_its_click_and_comes_after_it() -> None:
    day = large_day()
    converted = day[day["label_conversion"] == 1]
    assert converted["label_click"].all()
    assert (converted["delay_conversion"] > converted["delay_click"]).all()
    assert (day["truth_conversion"] < day["truth_click"]).all()


def test_likes_share_a_part_of_the_clicks_truth() -> None:
    logits = {task: np.log(large_day()[f"truth_{task}"] / (1 - large_day()[f"truth_{task}"])) for task in TASKS}
    assert 0.6 < np.corrcoef(logits["click"], logits["like"])[0, 1] < 0.95


def test_a_task_does_not_depend_on_the_others() -> None:
    alone = DriftSource(SMALL.model_copy(update={"tasks": ("conversion",)})).part(3, 2)
    together = DriftSource(SMALL).part(3, 2)
    assert alone.equals(together.select(alone.column_names))


@pytest.mark.parametrize(
    ("task", "low", "high"), [("click", 5, 5_400), ("like", 5, 1_800), ("conversion", 300, 86_400)]
)
def test_delays_stand_beside_positives_only(task: str, low: int, high: int) -> None:
    delay = large_day()[f"delay_{task}"]
    assert np.array_equal(delay.isna(), large_day()[f"label_{task}"] == 0)
    assert low <= delay.min() < delay.max() <= high
    assert delay.median() == pytest.approx(math.sqrt(low * high), rel=0.3)


def test_truth_never_reaches_an_end() -> None:
    extreme = drift_tables.sigmoid(np.array([-1e9, 0.0, 1e9])).astype(np.float32)
    assert 0 < extreme[0] < 1e-13
    assert extreme[1] == 0.5
    assert 0.999999 < extreme[2] < 1
    logits = np.linspace(-20, 15, 1_001)
    np.testing.assert_allclose(drift_tables.sigmoid(logits), 1 / (1 + np.exp(-logits)), rtol=5e-5)


# -------------------------------------------------------------------------------------------- hashing


def test_keys_and_draws_tell_their_names_apart() -> None:
    assert len({int(key(*parts)) for parts in [(0, "a"), (0, "b"), (1, "a"), ("0", "a"), (0, "a", 0)]}) == 5
    draws = Draws.of(np.arange(20_000), 0, "entity")
    columns = np.stack([draws.uniform("x"), draws.uniform("x", 1), draws.uniform("y")])
    assert np.abs(np.corrcoef(columns) - np.eye(3)).max() < 0.03
    np.testing.assert_allclose(columns.mean(axis=1), 0.5, atol=0.01)
    np.testing.assert_allclose(columns.var(axis=1), 1 / 12, atol=0.003)


def test_normals_are_normal_and_independent() -> None:
    found = drift_tables.normals(Draws.of(np.arange(50_000), 0, "entity"), "z", 6)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=0.02)
    np.testing.assert_allclose(found.std(axis=1), 1, atol=0.02)
    assert np.abs(np.corrcoef(found) - np.eye(6)).max() < 0.02
    assert np.mean(np.abs(found) < 1.96) == pytest.approx(0.95, abs=0.003)
