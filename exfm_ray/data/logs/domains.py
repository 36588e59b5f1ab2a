"""Levels of a categorical column merged into domains of nearly equal size, as the paper merges user classes."""

from collections.abc import Mapping

from exfm_ray.errors import UserError

EXACT_LEVELS = 12
"""Up to so many levels the best of all ways to merge is found; beyond, a good one."""


def merge_levels(counts: Mapping[int, int], domains: int) -> dict[int, int]:
    """The domain of each level, so that the largest domain has as few rows more than the smallest as can be had.

    The same counts give the same domains in any process. Domains are numbered in the order of their smallest levels;
    each has one level at least. Count training rows only: a split that knows later rows leaks them.

    Args:
        counts: training rows per level, 0 for a level that only later rows have.
        domains: how many there shall be, 1 or more.

    Raises:
        UserError: there are fewer levels than domains.
    """
    if len(counts) < domains:
        levels_found = ", ".join(map(str, sorted(counts)))
        raise UserError(
            f"data.domains: {domains}, but the column has {len(counts)} levels ({levels_found}); "
            "a domain needs one level at least, so ask for fewer domains"
        )
    levels = sorted(counts, key=lambda level: (-counts[level], level))
    sizes = [counts[level] for level in levels]
    groups = _best(sizes, domains) if len(levels) <= EXACT_LEVELS else _greedy(sizes, domains)
    smallest = sorted(range(domains), key=lambda group: min(_members(levels, groups, group)))
    return {level: smallest.index(group) for level, group in sorted(zip(levels, groups, strict=True))}


def _members(levels: list[int], groups: list[int], group: int) -> list[int]:
    return [level for level, of_level in zip(levels, groups, strict=True) if of_level == group]


def _greedy(sizes: list[int], domains: int) -> list[int]:
    """The group of each size, largest size first into the group that is smallest then."""
    sums, groups = [(0, 0)] * domains, []
    for size in sizes:
        group = sums.index(min(sums))
        rows, members = sums[group]
        sums[group] = (rows + size, members + 1)  # of two empty groups, the one without any level comes first
        groups.append(group)
    return groups


def _best(sizes: list[int], domains: int) -> list[int]:
    """The group of each size with the smallest spread of sums: depth-first, cutting off what cannot be better."""
    best = _greedy(sizes, domains)
    sums = [0] * domains
    for size, group in zip(sizes, best, strict=True):
        sums[group] += size
    spread = max(sums) - min(sums)
    mean = sum(sizes) / domains

    def search(groups: list[int], sums: list[int], used: int, left: int) -> None:
        nonlocal best, spread
        if len(groups) == len(sizes):
            if max(sums) - min(sums) < spread:
                best, spread = groups, max(sums) - min(sums)
            return
        if max(max(sums) - mean, mean - min(sums) - left, max(sums) - min(sums) - left) >= spread:
            return
        size, must_open = sizes[len(groups)], len(sizes) - len(groups) == domains - used
        for group in range(used if must_open else 0, min(used + 1, domains)):
            grown = [*sums[:group], sums[group] + size, *sums[group + 1 :]]
            search([*groups, group], grown, max(used, group + 1), left - size)

    search([], [0] * domains, 0, sum(sizes))
    return best
