"""A day's requests through three stages, and what is left of the truly best ads after each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from exfm_ray.cascade.ranking import highest
from exfm_ray.cascade.scorers import Scorer
from exfm_ray.data.drift.requests import Requests
from exfm_ray.data.hashing import Floats, Integers
from exfm_ray.metrics import recall

PAIRS_AT_ONCE = 65_536
"""Requests times candidates whose scores are in memory together; the same everywhere, since products of other sizes may
round otherwise."""


@dataclass(frozen=True)
class Truth:
    """What nobody but the stream knows of its requests."""

    best: NDArray[np.int32]
    """(R, k) the likeliest candidates of each request, from the likeliest on"""
    best_probability: Floats
    """(R, shown) true click probabilities of the first of them"""
    mean_probability: Floats
    """(R,) over all candidates: what a random choice would show"""

    def random_value(self) -> float:
        """The value of as many candidates that are chosen blindly, as expected."""
        shown: int = self.best_probability.shape[1]
        return shown * fsum(self.mean_probability) / fsum(self.best_probability.ravel())


@dataclass(frozen=True)
class Verdict:
    """What stages made of requests."""

    recall: Floats
    """(R, stages) of the truly best among all candidates, as many as the stage lets through, the share still there"""
    recall_of_entered: Floats
    """(R, stages) the same of the truly best among those that entered the stage"""
    value: float
    """true click probability of what is shown ÷ that of as many truly best"""


def truth_of(requests: Requests, best: int, shown: int) -> Truth:
    """The `best` likeliest candidates of every request, and how likely the first `shown` are."""
    everything = np.arange(requests.candidates)
    found, probabilities, means = [], [], []
    for numbers in chunks(requests, requests.count):
        pairs = np.repeat(numbers, len(everything)), np.tile(everything, len(numbers))
        truth = requests.truth(*pairs).reshape(len(numbers), len(everything))
        places = highest(truth, best)
        values = np.take_along_axis(truth, places, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        found.append(np.take_along_axis(places, order, axis=1).astype(np.int32))
        probabilities.append(np.take_along_axis(values, order[:, :shown], axis=1))
        means.append(truth.mean(axis=1))
    return Truth(np.concatenate(found), np.concatenate(probabilities), np.concatenate(means))


def through_stages(
    requests: Requests, truth: Truth, scorers: Sequence[Scorer], counts: Sequence[int], first: int | None = None
) -> Verdict:
    """Requests through all stages, the first of which looks at every candidate, and the truth about it.

    Args:
        truth: with at least as many of the best as the first stage lets through.
        scorers: of the stages, in order.
        counts: how many ads each of them lets through, the last one as many as the truth has probabilities for.
        first: only so many requests; left out: all.
    """
    count = requests.count if first is None else first
    parts = [_of_chunk(requests, truth, scorers, counts, numbers) for numbers in chunks(requests, count)]
    recall, of_entered, shown = (np.concatenate(of_parts) for of_parts in zip(*parts, strict=True))
    return Verdict(recall, of_entered, fsum(shown.ravel()) / fsum(truth.best_probability[:count].ravel()))


def chunks(requests: Requests, count: int) -> Iterator[Integers]:
    """Numbers of requests, of the first `count`, that are worked on at once; the same in any process."""
    size = max(PAIRS_AT_ONCE // requests.candidates, 1)
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def _of_chunk(
    requests: Requests, truth: Truth, scorers: Sequence[Scorer], counts: Sequence[int], numbers: Integers
) -> tuple[Floats, Floats, Floats]:
    """Both recalls, (C, stages) each, and the true probabilities of what is shown, (C, shown)."""

    def probability(candidates: Integers) -> Floats:
        pairs = np.repeat(numbers, candidates.shape[1]), candidates.ravel()
        return requests.truth(*pairs).reshape(candidates.shape)

    kept = highest(scorers[0].score_all(numbers), counts[0])
    recalls = [recall(kept, truth.best[numbers, : counts[0]])]
    of_entered = [recalls[0]]
    for scorer, count in zip(scorers[1:], counts[1:], strict=True):
        entered = kept
        kept = np.take_along_axis(entered, highest(scorer.score(numbers, entered), count), axis=1)
        best_entered = np.take_along_axis(entered, highest(probability(entered), count), axis=1)
        recalls.append(recall(kept, truth.best[numbers, :count]))
        of_entered.append(recall(kept, best_entered))
    return np.stack(recalls, axis=1), np.stack(of_entered, axis=1), probability(kept)
