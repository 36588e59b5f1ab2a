"""What the log of the drifting stream lets through, stage by stage."""

from collections.abc import Iterator

import numpy as np
import pytest

from exfm_ray.config import DriftData
from exfm_ray.data.drift.events import visits
from exfm_ray.data.drift.selection import (
    AD_ZIPF_ROOT,
    EARLY_GROUP,
    EARLY_NOISE_SD,
    RETRIEVAL_GROUP,
    RETRIEVAL_NOISE_SD,
    shown_ad,
    slot_of_rank,
    winners,
)
from exfm_ray.data.drift.source import DriftSource, cells
from exfm_ray.data.drift.tables import normal, zipf_rank
from exfm_ray.data.drift.world import CATEGORIES, FACTORS, ads_in, climate, users_in
from exfm_ray.data.hashing import fraction

NESTED = DriftData(days=5, events_per_day=6_000, users=500, ads=90, selection="cascade", parts_per_day=1)
EVENTS = 40
DAY = 3


def reference(stage: str) -> Iterator[tuple[int, set[int], int]]:
    """Event by event: the ad shown, all that the logged retrieval let through, and the ad of the whole reckoning."""
    cell = next(cell for cell in cells(NESTED, DAY) if NESTED.stages[cell.stage] == stage)
    events = np.arange(EVENTS)
    draws = cell.draws(NESTED, events)
    there = visits(NESTED, cell, draws, cell.times(draws, events))
    affinity = climate(NESTED, DAY).affinity
    _, shown, _ = shown_ad(NESTED, cell, draws, there.users, there.user, affinity)
    ads, users = ads_in(NESTED, DAY, np.arange(NESTED.ads)), users_in(NESTED, DAY, np.arange(NESTED.users))

    def liking(event: int, ad: int) -> float:
        user = there.user[event]
        total = float(ads.quality[ad] + affinity[users.cluster[user] * CATEGORIES + ads.category[ad]])
        return total + float(users.factors[:, user] @ ads.factors[:, ad]) / FACTORS**0.5

    for event in events:
        survivors = []
        for group in range(EARLY_GROUP):
            scores = []
            for index in range(group * RETRIEVAL_GROUP, (group + 1) * RETRIEVAL_GROUP):
                word = draws.words("candidate", index)[event : event + 1]
                rank = zipf_rank(fraction(word, 32), NESTED.ads, AD_ZIPF_ROOT)
                (ad,) = slot_of_rank(rank, NESTED.ads, NESTED.seed, "ad popularity", cell.domain)
                noise = float(normal(word << np.uint64(32))[0])
                scores.append((liking(event, int(ad)) + RETRIEVAL_NOISE_SD * noise, int(ad)))
            survivors.append(max(scores)[1])
        noises = [float(normal(draws.words("early score", group))[event]) for group in range(EARLY_GROUP)]
        likings = [liking(event, ad) for ad in survivors]
        best = max(range(EARLY_GROUP), key=lambda group: likings[group] + EARLY_NOISE_SD * noises[group])
        yield int(shown[event]), set(survivors), survivors[best]


def test_a_row_of_later_is_the_best_of_what_both_logged_stages_let_through() -> None:
    for shown, survivors, best in reference("later"):
        assert shown in survivors
        assert shown == best


def test_a_row_of_early_is_what_the_logged_retrieval_let_through() -> None:
    for shown, survivors, _ in reference("early"):
        assert shown in survivors


def test_winners_come_from_their_group_and_the_first_of_equals_wins() -> None:
    entrants = [(np.full(3, row), np.array([0.0, row, -row])) for row in range(5)]
    noises = [np.zeros(3)] * 5
    found = list(winners(iter(list(zip(entrants, noises, strict=True))), 1.0, 2))
    assert [row.tolist() for row, _ in found] == [[0, 1, 0], [2, 3, 2], [4, 4, 4]]
    assert [liking.tolist() for _, liking in found] == [[0, 1, 0], [0, 3, -2], [0, 4, -4]]


@pytest.mark.parametrize("selection", ["best_of", "cascade"])
def test_each_stage_shows_likelier_ads_than_the_one_before(selection: str) -> None:
    config = NESTED.model_copy(update={"selection": selection, "events_per_day": 30_000})
    day = DriftSource(config).part(DAY, 0).to_pandas()
    means = day.groupby("stage")["truth_click"].mean().to_numpy()
    assert means[0] < means[1] < means[2]


def test_retrieval_sees_the_same_ads_by_either_selection() -> None:
    days = [DriftSource(NESTED.model_copy(update={"selection": kind})).part(DAY, 0) for kind in ("best_of", "cascade")]
    one, other = (day.filter(np.equal(day["stage"].to_numpy(), 0)) for day in days)
    assert one.equals(other.select(one.column_names))


def test_only_the_fm_of_a_cascade_knows_the_stage() -> None:
    nested, other = DriftSource(NESTED), DriftSource(NESTED.model_copy(update={"selection": "best_of"}))
    names = [[feature.name for feature in source.schema().features] for source in (nested, other)]
    assert set(names[0]) - set(names[1]) == {"stage_id"}
    assert nested.schema().for_vm() == other.schema().for_vm()
    day = nested.part(DAY, 0)
    assert np.array_equal(day["stage_id"].to_numpy(), day["stage"].to_numpy())
