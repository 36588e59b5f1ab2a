"""Requests beside the log: the same world, other draws, and the truth of every pair."""

import math

import numpy as np
import pyarrow as pa
import pytest

from exfm_ray.config import DriftData
from exfm_ray.data.drift.requests import AD_FEATURES, Requests
from exfm_ray.data.drift.source import DriftSource
from exfm_ray.data.drift.world import CATEGORIES, CREATIVES, DAYPARTS, ads_in, climate, users_in

WORLD = DriftData(days=5, events_per_day=20_000, users=300, ads=60, domains=2, parts_per_day=1)
DAY, DOMAIN = 3, 1


def requests(count: int = 8, candidates: int = 60, config: DriftData = WORLD) -> Requests:
    return Requests(config, DAY, DOMAIN, count, candidates)


def all_pairs(of: Requests) -> tuple["np.ndarray[tuple[int], np.dtype[np.int64]]", ...]:
    return np.repeat(np.arange(of.count), of.candidates), np.tile(np.arange(of.candidates), of.count)


def test_truth_is_the_streams_formula_pair_by_pair() -> None:
    asked = requests()
    ads, users, today = ads_in(WORLD, DAY, np.arange(60)), users_in(WORLD, DAY, np.arange(300)), climate(WORLD, DAY)
    there = asked.visits
    found = asked.truth(*all_pairs(asked)).reshape(8, 60)
    for request in range(8):
        user, hour = there.user[request], int(there.hour[request])
        first, second = there.service[:, request]
        for ad in range(60):
            category = ads.category[ad]
            place = (users.device[user] * CREATIVES + ads.creative[ad]) * DAYPARTS + hour // (24 // DAYPARTS)
            logit = WORLD.base_logit + users.bias[user] + ads.quality[ad] + today.base[DOMAIN]
            logit += users.factors[:, user] @ ads.factors[:, ad] / math.sqrt(8)
            logit += today.affinity[users.cluster[user] * CATEGORIES + category]
            logit += 0.15 * math.cos(2 * math.pi * (hour - 20) / 24)
            logit += today.domain_category[DOMAIN * CATEGORIES + category] + today.device_creative_daypart[place]
            logit += today.geo_category[users.geo[user] * CATEGORIES + category]
            logit += 0.4 * (-first + 0.5 * first * second) - 0.15 * there.frequency[request]
            assert found[request, ad] == pytest.approx(1 / (1 + math.exp(-logit)), rel=2e-4)


def test_a_pair_has_the_features_of_its_request_and_of_its_ad() -> None:
    asked = requests()
    table = asked.features(*all_pairs(asked))
    schema = DriftSource(WORLD).schema()
    assert set(table.column_names) >= {feature.name for feature in schema.features}
    rows = table.to_pandas().drop(columns=[name for name in table.column_names if name.startswith("ad_view")])
    of_ads = rows[list(AD_FEATURES)].to_numpy().reshape(8, 60, -1)
    of_requests = rows.drop(columns=list(AD_FEATURES)).to_numpy().reshape(8, 60, -1)
    assert (of_ads == of_ads[:1]).all()
    assert (of_requests == of_requests[:, :1]).all()
    assert len(np.unique(of_ads[0, :, 0])) == 60
    assert len(np.unique(of_requests[:, 0], axis=0)) == 8


def test_requests_are_like_the_log_but_not_its_events() -> None:
    asked = requests(count=4_000)
    table = asked.features(np.arange(4_000), np.zeros(4_000, dtype=np.int64)).to_pandas()
    log = DriftSource(WORLD).part(DAY, 0).to_pandas()
    log = log[log["domain"] == DOMAIN]
    for name in ("hour", "frequency", "service_feature_0", "geo", "device"):
        assert table[name].mean() == pytest.approx(log[name].mean(), abs=0.08 * float(log[name].std()))
    exact = ["user_id", "hour", "service_feature_0", "service_feature_1"]
    assert not len(table[exact].merge(log[exact], on=exact))


def test_fewer_candidates_are_some_of_the_days_ads_for_every_request() -> None:
    some, whole = requests(candidates=20), requests()
    ids = some.features(*all_pairs(some))["ad_id"].to_numpy().reshape(8, 20)
    assert (ids == ids[:1]).all()
    assert len(set(ids[0])) == 20
    everyone = dict(enumerate(whole.features(*all_pairs(whole))["ad_id"].to_pylist()[:60]))
    places = [next(place for place, ad in everyone.items() if ad == one) for one in ids[0]]
    numbers = np.zeros(20, dtype=np.int64)
    assert np.array_equal(some.truth(numbers, np.arange(20)), whole.truth(numbers, np.array(places)))
    other = Requests(WORLD, DAY + 1, DOMAIN, 1, 20)
    assert set(other.features(*all_pairs(other))["ad_id"].to_pylist()) != set(ids[0].tolist())


def test_pairs_in_pieces_are_the_pairs_at_once() -> None:
    asked = requests()
    numbers, candidates = all_pairs(asked)
    whole = asked.features(numbers, candidates)
    pieces = [asked.features(numbers[start : start + 7], candidates[start : start + 7]) for start in range(0, 480, 7)]
    assert pa.concat_tables(pieces).equals(whole)
