"""Long arrays worked on in pieces that stay in a core's cache, so that what lies between two steps never leaves it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

BLOCK = 16_384
"""values; of 64 bits each, with one or two intermediate arrays they fit the second-level cache"""


def in_blocks(function: Callable[[Integers], Integers], values: Integers) -> Integers:
    """What a function of single values gives for all of them: (V,) → (V,), a new array."""
    found = np.empty(len(values), dtype=np.int64)
    for start in range(0, len(values), BLOCK):
        found[start : start + BLOCK] = function(values[start : start + BLOCK])
    return found
