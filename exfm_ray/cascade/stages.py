"""A day's requests through three stages, and what is left of the truly best ads after each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np

from exfm_ray.cascade.ranking import highest
from exfm_ray.cascade.scorers import Scorer
from exfm_ray.data.drift_requests import Requests
from exfm_ray.data.hashing import Floats, Integers
from exfm_ray.metrics import recall

PAIRS_AT_ONCE = 262_144
"""Requests times candidates whose scores are in memory together."""


@dataclass(frozen=True)
class Truth:
    """What nobody but the stream knows of its requests."""

    best: Integers
    """(R, k) the likeliest candidates of each request, from the likeliest on"""
    best_probability: Floats
    """(R, k) their true click probabilities"""
    mean_probability: Floats
    """(R,) over all candidates: what a random choice would show"""


@dataclass(frozen=True)
class Passed:
    """What one stage let through."""

    recall: float
    """share of the truly best among all candidates, as many as pass, that are still there"""
    recall_of_entered: float
    """the same of the truly best among those that entered the stage"""


def chunks(requests: Requests) -> Iterator[Integers]:
    """Numbers of requests that are worked on at once; the same in any process."""
    size = max(PAIRS_AT_ONCE // requests.candidates, 1)
    for start in range(0, requests.count, size):
        yield np.arange(start, min(start + size, requests.count))


def truth_of(requests: Requests, best: int) -> Truth:
    """The `best` likeliest candidates of every request."""
    everything = np.arange(requests.candidates)
    found, probabilities, means = [], [], []
    for numbers in chunks(requests):
        shape = len(numbers), len(everything)
        pairs = np.repeat(numbers, len(everything)), np.tile(everything, len(numbers))
        truth = requests.truth(*pairs).reshape(shape)
        places = highest(truth, best)
        values = np.take_along_axis(truth, places, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        found.append(np.take_along_axis(places, order, axis=1))
        probabilities.append(np.take_along_axis(values, order, axis=1))
        means.append(truth.mean(axis=1))
    return Truth(np.concatenate(found), np.concatenate(probabilities), np.concatenate(means))


def let_through(requests: Requests, scorers: Sequence[Scorer], counts: Sequence[int]) -> list[Integers]:
    """After each stage what it let through of every request's candidates: (R, count) numbers, in ascending order.

    Args:
        scorers: of the stages, in order; the first looks at all candidates.
        counts: how many each of them lets through.
    """
    parts = [_of_chunk(numbers, scorers, counts) for numbers in chunks(requests)]
    return [np.concatenate(stage) for stage in zip(*parts, strict=True)]


def _of_chunk(numbers: Integers, scorers: Sequence[Scorer], counts: Sequence[int]) -> list[Integers]:
    kept = [highest(scorers[0].score_all(numbers), counts[0])]
    for scorer, count in zip(scorers[1:], counts[1:], strict=True):
        places = highest(scorer.score(numbers, kept[-1]), count)
        kept.append(np.take_along_axis(kept[-1], places, axis=1))
    return kept


def judged(requests: Requests, truth: Truth, kept: Sequence[Integers]) -> list[Passed]:
    """Each stage by the truth.

    Args:
        truth: with at least as many of the best as the first stage let through.
        kept: of `let_through`.
    """
    found = []
    for place, after in enumerate(kept):
        still_there = _mean(recall(after, truth.best[:, : after.shape[1]]))
        of_entered = still_there if place == 0 else _mean(recall(after, _best_of(requests, kept[place - 1], after)))
        found.append(Passed(still_there, of_entered))
    return found


def _best_of(requests: Requests, entered: Integers, after: Integers) -> Integers:
    """(R, k) the truly best of what entered a stage, as many as it let through."""
    places = highest(probability_of(requests, entered), after.shape[1])
    return np.take_along_axis(entered, places, axis=1)


def probability_of(requests: Requests, candidates: Integers) -> Floats:
    """(R, k) true click probabilities of the first R requests' own candidates; candidates: (R, k)."""
    count = candidates.shape[1]
    size = max(PAIRS_AT_ONCE // count, 1)
    parts = []
    for start in range(0, len(candidates), size):
        part = candidates[start : start + size]
        parts.append(requests.truth(np.repeat(np.arange(start, start + len(part)), count), part.ravel()))
    return np.concatenate(parts).reshape(candidates.shape)


def value_of(requests: Requests, truth: Truth, shown: Integers) -> float:
    """True click probability of what is shown to the first R requests ÷ that of as many truly best; shown: (R, k)."""
    rows, count = shown.shape
    best = fsum(truth.best_probability[:rows, :count].ravel())
    return fsum(probability_of(requests, shown).ravel()) / best


def random_value(truth: Truth, count: int) -> float:
    """`value_of` of `count` candidates that are chosen blindly, as expected."""
    return count * fsum(truth.mean_probability) / fsum(truth.best_probability[:, :count].ravel())


def _mean(values: Floats) -> float:
    return fsum(values) / len(values)
