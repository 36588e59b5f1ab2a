"""Which rows of a table a batch touches: found once for the batch, whatever models and variants read them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from exfm_ray.models.inputs import Inputs


@dataclass(frozen=True)
class TableLayout:
    """Where the rows of each feature begin in a fused table."""

    categorical: tuple[int, ...]
    sequences: tuple[int, ...]
    rows: int
    """of the whole table"""


@dataclass(frozen=True)
class Bags:
    """N sums of vectors: the i-th is of the vectors at `places[offsets[i]:offsets[i + 1]]`."""

    places: torch.Tensor
    """(E,) int32"""
    offsets: torch.Tensor
    """(N + 1,) int32, from 0 to E"""

    def part(self, start: int, stop: int) -> "Bags":
        """The sums from the one numbered `start` up to `stop`."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return Bags(self.places[first:last], self.offsets[start : stop + 1] - first)

    def transposed(self, vectors: int) -> "Bags":
        """By vector, the sums that it is in, in ascending order: what their gradients come back along.

        Args:
            vectors: how many there are; every place is below it.
        """
        if self.places.device.type != "cpu":
            return self.transposed_by_sorting(vectors)
        values = np.ones(len(self.places), dtype=np.int8)  # the cheapest ones: only the pattern is wanted
        pattern = (values, self.places.numpy(), self.offsets.numpy())
        turned = csr_array(pattern, shape=(len(self.offsets) - 1, vectors)).tocsc()
        return Bags(torch.from_numpy(turned.indices), torch.from_numpy(turned.indptr))

    def transposed_by_sorting(self, vectors: int) -> "Bags":
        """The same on any device; on a CPU several times slower."""
        order = self.places.argsort(stable=True)
        sums = torch.repeat_interleave(self.offsets.diff())
        counts = torch.bincount(self.places, minlength=vectors)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return Bags(sums[order].int(), offsets.int())


@dataclass(frozen=True)
class Lookup:
    """A batch's ids as places among the rows that it touches, each row once."""

    rows: torch.Tensor
    """(U,) int64, ascending: rows of the fused table"""
    categorical: torch.Tensor
    """(B, C) int32, places among `rows`"""
    sequences: tuple[Bags, ...]
    """of each sequence the histories' elements, V places among `rows`"""
    _sums: dict[tuple[str, tuple[int, ...]], Bags] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, inputs: Inputs, layout: TableLayout) -> "Lookup":
        """The rows that a batch touches in a table of this layout, found at the first call."""
        found = inputs.lookups.get(layout)
        if found is None:
            found = inputs.lookups[layout] = cls._of_part(inputs, layout) or cls._found(inputs, layout)
        assert isinstance(found, cls)
        return found

    @classmethod
    def _of_part(cls, inputs: Inputs, layout: TableLayout) -> "Lookup | None":
        """For a part of a batch that is shared out: with all the rows that the batch touches."""
        if inputs.part_of is None:
            return None
        batch, start, stop = inputs.part_of
        whole = cls.of(batch, layout)
        return cls(whole.rows, whole.categorical[start:stop], tuple(bags.part(start, stop) for bags in whole.sequences))

    @classmethod
    def _found(cls, inputs: Inputs, layout: TableLayout) -> "Lookup":
        starts = torch.tensor(layout.categorical, dtype=torch.int64).to(inputs.categorical.device)
        ids = [(inputs.categorical + starts).flatten()]
        ids += [s.values + start for s, start in zip(inputs.sequences, layout.sequences, strict=True)]
        rows, places = _distinct(torch.cat(ids), layout.rows)
        categorical, *sequences = torch.split(places, [len(part) for part in ids])
        bags = [Bags(p, s.offsets.int()) for p, s in zip(sequences, inputs.sequences, strict=True)]
        return cls(rows, categorical.view(inputs.categorical.shape), tuple(bags))

    def to(self, device: torch.device) -> "Lookup":
        def moved(bags: Bags) -> Bags:
            return Bags(bags.places.to(device, non_blocking=True), bags.offsets.to(device, non_blocking=True))

        return Lookup(
            rows=self.rows.to(device, non_blocking=True),
            categorical=self.categorical.to(device, non_blocking=True),
            sequences=tuple(moved(bags) for bags in self.sequences),
            _sums={what: moved(bags) for what, bags in self._sums.items()},
        )

    def elements(self, sequences: Sequence[int]) -> torch.Tensor:
        """Places of the elements of sequences of like lengths, side by side: (V, sequences) int32."""
        return torch.stack([self.sequences[index].places for index in sequences], dim=1)

    def sums_over_fields(self, numeric: int, pooled: tuple[int, ...]) -> Bags:
        """By touched row, where it is in (B, F) vectors, flat: categorical, `numeric` others, then pooled histories."""
        return self._kept("fields", (numeric, *pooled), lambda: self._turned_fields(numeric, pooled))

    def sums_over_elements(self, sequences: tuple[int, ...]) -> Bags:
        """By touched row, where it is in the flat (V, sequences) elements."""
        return self._kept("elements", sequences, lambda: _singles(self.elements(sequences)).transposed(len(self.rows)))

    def _turned_fields(self, numeric: int, pooled: tuple[int, ...]) -> Bags:
        rows, features = self.categorical.shape
        fields = features + numeric + len(pooled)
        numbers = torch.arange(rows * fields, dtype=torch.int32, device=self.rows.device).view(rows, fields)
        # the elements lie feature by feature: they are turned as they lie, and then named by their place in (B, F)
        parts = [_singles(self.categorical), *(self.sequences[index] for index in pooled)]
        turned = _one_after_another(parts).transposed(len(self.rows))
        names = [numbers[:, :features].flatten(), *numbers[:, features + numeric :].unbind(1)]
        return Bags(torch.cat(names).index_select(0, turned.places), turned.offsets)

    def _kept(self, kind: str, of: tuple[int, ...], make: Callable[[], Bags]) -> Bags:
        if (kind, of) not in self._sums:
            self._sums[kind, of] = make()
        return self._sums[kind, of]


def _singles(places: torch.Tensor) -> Bags:
    """Each place alone."""
    return Bags(places.flatten(), torch.arange(places.numel() + 1, dtype=torch.int32, device=places.device))


def _one_after_another(parts: Sequence[Bags]) -> Bags:
    starts = np.cumsum([0, *(len(bags.places) for bags in parts)])
    offsets = [bags.offsets[:-1] + int(start) for bags, start in zip(parts, starts, strict=False)]
    end = offsets[0].new_full((1,), int(starts[-1]))
    return Bags(torch.cat([bags.places for bags in parts]), torch.cat([*offsets, end]))


def _distinct(ids: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Distinct ids in ascending order, (U,) int64, and each id's place among them, (n,) int32.

    Args:
        ids: (n,) int64, below `rows`.
    """
    if ids.device.type != "cpu":
        distinct, places = torch.unique(ids, return_inverse=True)
        return distinct, places.int()
    # marks in a map of all rows: a third of the time of sorting, and a byte per row is little beside its vector
    seen = np.zeros(rows, dtype=np.bool_)
    seen[ids.numpy()] = True
    found: NDArray[np.int64] = np.flatnonzero(seen)
    place_of = np.empty(rows, dtype=np.int32)
    place_of[found] = np.arange(len(found), dtype=np.int32)
    return torch.from_numpy(found), torch.from_numpy(place_of[ids.numpy()])
