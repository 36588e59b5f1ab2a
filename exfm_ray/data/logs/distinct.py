"""How many distinct ids a column has, in bounded memory: exact for few, an estimate for many."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exfm_ray.data.hashing import Words, mixed

BOUND = 4_096
"""Up to so many less one are counted exactly; the estimate of more has a standard error of 1 / sqrt(BOUND): 1.6 %."""


@dataclass(frozen=True)
class DistinctSketch:
    """The smallest hashes of the ids seen (k minimum values; Bar-Yossef et al. 2002). Sketches of parts merge."""

    smallest: Words
    """(n,) ascending and distinct, at most BOUND"""

    @classmethod
    def of(cls, values: NDArray[np.int64]) -> "DistinctSketch":
        return cls(np.sort(mixed(np.unique(values).view(np.uint64)))[:BOUND])

    def merged(self, other: "DistinctSketch") -> "DistinctSketch":
        return DistinctSketch(np.union1d(self.smallest, other.smallest)[:BOUND])

    @property
    def is_exact(self) -> bool:
        return len(self.smallest) < BOUND

    def count(self) -> int:
        if self.is_exact:
            return len(self.smallest)
        return round((BOUND - 1) * 2.0**64 / float(self.smallest[-1]))

    def told(self) -> int | str:
        """For the user."""
        return self.count() if self.is_exact else f"about {self.count()}"
