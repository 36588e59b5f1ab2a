"""Random bits without a state: each draw is a hash of what it is for.

Nothing here depends on the machine, on the order of the draws or on how many are made at once, because integers
that wrap at 64 bits are the same everywhere. The mixing is the output function of SplitMix64 (Steele 2014).
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_MULTIPLIER = np.uint64(0x94D049BB133111EB)


@lru_cache(maxsize=65_536)
def key(*parts: int | str) -> np.uint64:
    """64 bits that name `parts`: equal parts give equal bits, in any process."""
    return np.uint64(int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little"))


def mixed(words: Words, scratch: Words | None = None) -> Words:
    """SplitMix64's bijection of 64-bit words, in place: near words become unrelated ones.

    Args:
        scratch: room for as many words; made where it is left out.
    """
    shifted = np.empty_like(words) if scratch is None else scratch
    words ^= np.right_shift(words, np.uint64(30), out=shifted)
    words *= _FIRST_MULTIPLIER
    words ^= np.right_shift(words, np.uint64(27), out=shifted)
    words *= _SECOND_MULTIPLIER
    words ^= np.right_shift(words, np.uint64(31), out=shifted)
    return words


def fraction(words: Words, bits: int = 53) -> Floats:
    """The leading `bits` (at most 53) of each word as a number of (0, 1), spaced by 2**-bits and never an end."""
    return ((words >> np.uint64(64 - bits)).astype(np.float64) + 0.5) * 2.0**-bits


def field(words: Words, bits: int, place: int = 0) -> Integers:
    """The `place`-th group of `bits` bits of each word, counted from the leading bits, as a row of a table."""
    group = words >> np.uint64(64 - bits * (place + 1))
    group &= np.uint64((1 << bits) - 1)
    return group.view(np.int64)


@dataclass(frozen=True)
class Draws:
    """The random quantities of entities, each a hash of (kind, entity, name of the quantity, index)."""

    state: Words
    """(n,), one per entity"""

    @classmethod
    def of(cls, entities: Integers, *kind: int | str) -> "Draws":
        """Draws of `entities`: (n,) non-negative, distinct within their `kind`, which begins with the seed."""
        return cls(mixed(entities.astype(np.uint64) * _GOLDEN + key(*kind)))

    def only(self, rows: Integers) -> "Draws":
        """The same draws for some of the entities."""
        return Draws(self.state[rows])

    def words(self, name: str, index: int = 0) -> Words:
        """(n,) 64 random bits each."""
        return mixed(self.state + key(name, index))

    def uniform(self, name: str, index: int = 0) -> Floats:
        """(n,) in (0, 1)."""
        return fraction(self.words(name, index))

    def below(self, name: str, limit: int) -> Integers:
        """(n,) integers in [0, limit), equally likely; limit at most 2**32."""
        return (self.uniform(name) * limit).astype(np.int64)


def text_id(text: str) -> int:
    """A 64-bit id of a text, as int64: the same in any process. Two of a million texts share one by chance of 1e-7."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
