"""Paired statistics over (seed, evaluated day): changes, the paper's order, distance to the best, transfer ratio."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from exfm_ray.report.results import Results, Series
from exfm_ray.schema import Method

Verdict = Literal["yes", "no", "tie"]


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (n - 1) of n values; None where too few define them."""

    n: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Change:
    """Paired differences of a lower-is-better metric; a negative mean is an improvement."""

    n: int
    mean: float
    sd: float | None
    better: int
    worse: int

    @property
    def standard_error(self) -> float | None:
        """sd / sqrt(n), as if the pairs were independent; None for a single pair."""
        return None if self.sd is None else self.sd / math.sqrt(self.n)

    @property
    def verdict(self) -> Verdict:
        """`tie` within one standard error of zero, else whether it got better. A single pair speaks by its sign."""
        if abs(self.mean) <= (self.standard_error or 0.0):
            return "tie"
        return "yes" if self.mean < 0 else "no"


def summarise(values: Iterable[float]) -> Summary:
    """Mean and spread of the values."""
    known = list(values)
    if not known:
        return Summary(0, None, None)
    mean = math.fsum(known) / len(known)
    if len(known) == 1:
        return Summary(1, mean, None)
    return Summary(len(known), mean, math.sqrt(math.fsum((x - mean) ** 2 for x in known) / (len(known) - 1)))


def shared_pairs(*series: Series) -> list[tuple[int, int]]:
    """The (seed, day) pairs at which every series is defined, in order."""
    return sorted(set(series[0]).intersection(*series[1:]))


def percent_changes(baseline: Series, method: Series) -> dict[tuple[int, int], float]:
    """100 * (method / baseline - 1) wherever both are defined and the baseline is not zero."""
    pairs = shared_pairs(baseline, method)
    return {pair: 100 * (method[pair] / baseline[pair] - 1) for pair in pairs if baseline[pair] != 0}


def paired_change(baseline: Series, method: Series) -> Change | None:
    """The change from baseline to method in percent, paired by (seed, day); None where no pair is shared."""
    changes = list(percent_changes(baseline, method).values())
    summary = summarise(changes)
    if summary.mean is None:
        return None
    better, worse = sum(change < 0 for change in changes), sum(change > 0 for change in changes)
    return Change(summary.n, summary.mean, summary.sd, better, worse)


def mean_difference(left: Series, right: Series, pairs: Sequence[tuple[int, int]]) -> float | None:
    """Mean of left - right over the pairs."""
    return summarise(left[pair] - right[pair] for pair in pairs).mean


def gap_closed(none: Series, method: Series, oracle: Series) -> float | None:
    """Share of the distance from `none` to the oracle that a method closes: 1 is perfect, below 0 is further away.

    A ratio of means over the pairs that all three share; None where `none` is no worse than the oracle.
    """
    pairs = shared_pairs(none, method, oracle)
    gain, gap = mean_difference(none, method, pairs), mean_difference(none, oracle, pairs)
    return gain / gap if gain is not None and gap is not None and gap > 0 else None


def transfer_ratio(none: Series, method: Series, fm: Series) -> float | None:
    """(VM gain with the FM) / (FM gain over the VM alone), a ratio of means over the pairs that all three share.

    None where the FM is no better than the VM alone: there is nothing to transfer.
    """
    pairs = shared_pairs(none, method, fm)
    gain, fm_gain = mean_difference(none, method, pairs), mean_difference(none, fm, pairs)
    return gain / fm_gain if gain is not None and fm_gain is not None and fm_gain > 0 else None


@dataclass(frozen=True)
class Step:
    """One pair of neighbours in the paper's order; `change` is from the worse to the better one, None if unmeasured."""

    worse: Method
    better: Method
    change: Change | None


@dataclass(frozen=True)
class Ordering:
    """Whether a VM's methods come out in the paper's order."""

    vm: str
    steps: tuple[Step, ...]
    means: tuple[tuple[Method, float], ...]
    """Methods from highest to lowest mean NE, over the pairs that all of them share."""
    pairs: int

    @property
    def on_the_means(self) -> bool | None:
        """Whether the means alone are in the paper's order; None where the methods share no pair."""
        if not self.means:
            return None
        paper = [step.worse for step in self.steps] + [self.steps[-1].better]
        values = dict(self.means)
        return all(values[worse] > values[better] for worse, better in pairwise(paper))

    @property
    def verdict(self) -> Verdict | None:
        """`no` if any step is, else `tie` if any step is, else `yes`; None where a step was not measured."""
        verdicts = [step.change.verdict for step in self.steps if step.change is not None]
        if "no" in verdicts:
            return "no"
        if len(verdicts) < len(self.steps):
            return None
        return "tie" if "tie" in verdicts else "yes"


def ordering(results: Results, vm: str) -> Ordering | None:
    """The paper's order among the methods that the VM ran; None where it ran only one."""
    methods = results.methods(vm)
    if len(methods) < 2:
        return None
    series = {method: results.series(vm, method, "ne") for method in methods}
    steps = [Step(worse, better, paired_change(series[worse], series[better])) for worse, better in pairwise(methods)]
    pairs = shared_pairs(*series.values())
    means = [(method, math.fsum(series[method][pair] for pair in pairs) / len(pairs)) for method in methods if pairs]
    return Ordering(vm, tuple(steps), tuple(sorted(means, key=lambda item: -item[1])), len(pairs))
