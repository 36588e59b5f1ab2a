"""Cosine, sigmoid and quantiles by look-up, so that the drifting stream is the same bits on any machine.

Libraries compute cos, exp and log with different last bits on different processors. The tables below are
made with nine significant digits, which those last bits do not reach, and everything after them is
+ - * / and comparisons, which IEEE 754 defines to the bit.
"""

import math
from collections.abc import Iterable
from functools import cache
from itertools import accumulate
from statistics import NormalDist

import numpy as np

from exfm_ray.data.hashing import Draws, Floats, Integers, Words, field, fraction

MILLISECONDS_PER_DAY = 86_400_000

NORMAL_BITS = 14
"""Four normals come out of one word, each one of 16,384 equally likely values up to 4 standard deviations."""
QUANTILE_BITS = 12
COSINE_ROWS = 1 << 14
CAUCHY_CLIP = 40.0
"""Faster waves than this would be no drift but noise."""
LOGIT_FLOOR, LOGIT_CEILING = -32.0, 16.0
"""Probabilities stay inside (0, 1), also as float32."""
SIGMOID_STEPS = 64
"""Rows per unit of logit; the interpolation is then 3e-5 from the sigmoid, relative to it."""
CURVE_ROWS = 1024
EVENING_PEAK, PEAK_HEIGHT = 17.0 / 24.0, 0.6
"""Traffic over the day is 1 + 0.6 cos(2 pi (time - 17:00))."""
MOST_SEEN = 6
SEEN_RARELY, SEEN_OFTEN = 1.0, 3.0
"""Mean impressions before this one, of most users and of heavy users."""


def rounded(values: Iterable[float]) -> Floats:
    """The values to nine significant digits."""
    return np.array([float(f"{value:.8e}") for value in values], dtype=np.float64)


def _midpoints(rows: int) -> list[float]:
    return [(row + 0.5) / rows for row in range(rows)]


@cache
def normal_table() -> Floats:
    """Quantiles of the standard normal distribution."""
    standard = NormalDist()
    return rounded(standard.inv_cdf(u) for u in _midpoints(1 << NORMAL_BITS))


@cache
def cauchy_table() -> Floats:
    """Quantiles of the standard Cauchy distribution, clipped."""
    quantiles = (math.tan(math.pi * (u - 0.5)) for u in _midpoints(1 << QUANTILE_BITS))
    return rounded(min(max(quantile, -CAUCHY_CLIP), CAUCHY_CLIP) for quantile in quantiles)


@cache
def cosine_table() -> Floats:
    """One turn of the cosine."""
    return rounded(math.cos(2 * math.pi * turn) for turn in _midpoints(COSINE_ROWS))


@cache
def sigmoid_table() -> Floats:
    """1 / (1 + exp(-logit)) from LOGIT_FLOOR to LOGIT_CEILING, both included."""
    rows = round((LOGIT_CEILING - LOGIT_FLOOR) * SIGMOID_STEPS)
    return rounded(1 / (1 + math.exp(-(LOGIT_FLOOR + row / SIGMOID_STEPS))) for row in range(rows + 1))


@cache
def log_uniform_table(low: float, high: float) -> Integers:
    """Quantiles of the log-uniform distribution over [low, high], rounded down to integers."""
    span = math.log(high / low)
    return np.floor(rounded(low * math.exp(span * u) for u in _midpoints(1 << QUANTILE_BITS))).astype(np.int64)


@cache
def frequency_table() -> Integers:
    """Quantiles of a Poisson count cut at MOST_SEEN, first of most users, then of heavy users: (2, rows) flattened."""
    tables = []
    for mean in (SEEN_RARELY, SEEN_OFTEN):
        masses = (math.exp(-mean) * mean**count / math.factorial(count) for count in range(MOST_SEEN))
        tables.append(np.searchsorted(rounded(accumulate(masses)), _midpoints(1 << QUANTILE_BITS), side="right"))
    return np.concatenate(tables).astype(np.int64)


@cache
def day_curve() -> Integers:
    """(CURVE_ROWS + 1,) millisecond of the day before which each equal share of the day's events lies."""

    def share_before(time: float) -> float:
        rise = math.sin(2 * math.pi * (time - EVENING_PEAK)) + math.sin(2 * math.pi * EVENING_PEAK)
        return time + PEAK_HEIGHT / (2 * math.pi) * rise

    def time_of(share: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if share_before(middle) < share else (low, middle)
        return low

    inner = rounded(time_of(row / CURVE_ROWS) * MILLISECONDS_PER_DAY for row in range(1, CURVE_ROWS))
    return np.array([0, *(round(value) for value in inner), MILLISECONDS_PER_DAY], dtype=np.int64)


def normal(words: Words, place: int = 0) -> Floats:
    """(n,) standard normals from the `place`-th of four fields of each word."""
    return normal_table().take(field(words, NORMAL_BITS, place))


def normals(draws: Draws, name: str, count: int) -> Floats:
    """(count, n) independent standard normals."""
    rows = np.empty((count, len(draws.state)))
    for row in range(count):
        if row % 4 == 0:
            words = draws.words(name, row // 4)
        rows[row] = normal(words, row % 4)
    return rows


def cosine(turns: Floats) -> Floats:
    """cos(2 pi turns), within 2e-4."""
    part = turns - np.floor(turns)
    return cosine_table().take((part * COSINE_ROWS).astype(np.int64) & (COSINE_ROWS - 1))


def sigmoid(logit: Floats) -> Floats:
    """Probability of a logit, interpolated; logits beyond the table take its ends."""
    table = sigmoid_table()
    place = (np.minimum(np.maximum(logit, LOGIT_FLOOR), LOGIT_CEILING) - LOGIT_FLOOR) * SIGMOID_STEPS
    row = np.minimum(place.astype(np.int64), len(table) - 2)
    low = table.take(row)
    return low + (table.take(row + 1) - low) * (place - row)


def zipf_rank(uniform: Floats, count: int, root: int) -> Integers:
    """Ranks in [0, count) whose probability falls as (rank + 1)**-(1 - 1/root).

    Its quantile function is a power with the whole exponent `root`, so multiplication computes it.
    """
    base = 1.0 + uniform * (float(rounded([count ** (1 / root)])[0]) - 1.0)
    power = base.copy()
    for _ in range(root - 1):
        power *= base
    return np.minimum((power - 1.0).astype(np.int64), count - 1)


def log_uniform(words: Words, low: float, high: float) -> Integers:
    """(n,) integers in [low, high], log-uniform."""
    return log_uniform_table(low, high).take(field(words, QUANTILE_BITS))


def frequency(words: Words, heavy: Integers) -> Integers:
    """(n,) impressions before this one, 0 to MOST_SEEN; `heavy` is 1 for a user who sees many, else 0."""
    return frequency_table().take(field(words, QUANTILE_BITS) + (heavy << QUANTILE_BITS))


def drifting(draws: Draws, name: str, count: int, day: int, memory: float, waves: int) -> Floats:
    """(count, n) processes with variance 1 and E[x(t) x(t + s)] = exp(-|s| / memory), at noon of `day`; memory in days.

    A sum of `waves` cosines whose frequencies are Cauchy-distributed, the spectrum of that covariance, so any day
    is computed without the days before it (random Fourier features, Rahimi 2007).
    """
    turns_per_unit = (day + 0.5) / (2 * math.pi * memory)
    rows = np.zeros((count, len(draws.state)))
    for row in range(count):
        for wave in range(waves):
            words = draws.words(name, row * waves + wave)
            speed = cauchy_table().take(field(words, QUANTILE_BITS))
            rows[row] += cosine(speed * turns_per_unit + fraction(words << np.uint64(QUANTILE_BITS), 32))
    return rows * math.sqrt(2 / waves)


def time_of_day(share: Floats) -> Integers:
    """Millisecond of the day, in [0, MILLISECONDS_PER_DAY), by which `share` of the day's events have happened."""
    curve = day_curve()
    place = share * CURVE_ROWS
    row = np.minimum(place.astype(np.int64), CURVE_ROWS - 1)
    low = curve.take(row)
    return np.minimum((low + (curve.take(row + 1) - low) * (place - row)).astype(np.int64), MILLISECONDS_PER_DAY - 1)


def share_before(millisecond: int) -> float:
    """The inverse of `time_of_day`, but for rounding; millisecond in [0, MILLISECONDS_PER_DAY]."""
    curve = day_curve()
    row = min(int(np.searchsorted(curve, millisecond, side="right")) - 1, CURVE_ROWS - 1)
    return (row + (millisecond - int(curve[row])) / int(curve[row + 1] - curve[row])) / CURVE_ROWS
