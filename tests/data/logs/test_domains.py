import itertools
import random

import pytest

from exfm_ray.data.logs.domains import merge_levels
from exfm_ray.errors import UserError


def spread(counts: dict[int, int], domain_of: dict[int, int]) -> int:
    sums = [0] * len(set(domain_of.values()))
    for level, domain in domain_of.items():
        sums[domain] += counts[level]
    return max(sums) - min(sums)


def least_spread(counts: dict[int, int], domains: int) -> int:
    """Over every way to give the levels to the domains, with none empty."""
    ways = itertools.product(range(domains), repeat=len(counts))
    whole = [way for way in ways if len(set(way)) == domains]
    return min(spread(counts, dict(zip(counts, way, strict=True))) for way in whole)


def test_user_classes_become_three_domains() -> None:
    counts = {0: 32_000, 1: 9_000, 2: 20_000, 3: 25_000, 4: 14_000}
    assert merge_levels(counts, 3) == {0: 0, 1: 1, 2: 2, 3: 1, 4: 2}


def test_nothing_is_better_than_the_merge_of_few_levels() -> None:
    draw = random.Random(3)
    for _ in range(60):
        levels, domains = draw.randint(3, 7), draw.randint(1, 3)
        counts = {level: draw.choice([0, 1, draw.randint(1, 50), draw.randint(1, 10_000)]) for level in range(levels)}
        merged = merge_levels(counts, domains)
        assert set(merged.values()) == set(range(domains))
        assert spread(counts, merged) == least_spread(counts, domains), counts


def test_twelve_levels_are_searched_whole() -> None:
    sums = [[90, 10], [80, 15, 5], [70, 30], [61, 39], [50, 29, 21]]
    sizes = [size for group in sums for size in group]
    counts = dict(enumerate(sizes))
    assert spread(counts, merge_levels(counts, 5)) == 0


def test_many_levels_are_merged_nearly_equal() -> None:
    draw = random.Random(5)
    counts = {level: draw.randint(1, 1_000) for level in range(200)}
    merged = merge_levels(counts, 7)
    assert merged.keys() == counts.keys()
    assert spread(counts, merged) < 20
    assert set(merge_levels(dict.fromkeys(range(40), 0), 7).values()) == set(range(7))


def test_the_order_of_the_levels_changes_nothing() -> None:
    counts = dict.fromkeys(range(9), 10) | {20: 7, 21: 7}
    shuffled = list(counts.items())
    random.Random(1).shuffle(shuffled)
    assert merge_levels(dict(shuffled), 4) == merge_levels(counts, 4)
    assert merge_levels(counts, 4)[0] == 0


def test_fewer_levels_than_domains_are_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"data.domains: 3, but the column has 2 levels \(1, 4\); .* fewer domains"):
        merge_levels({4: 1, 1: 5}, 3)
