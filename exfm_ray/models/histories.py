"""Computation over a batch's histories where they lie end to end, without padding."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Histories:
    """The shape of B histories of V elements together; row b's are at `offsets[b]` up to `offsets[b + 1]`."""

    offsets: torch.Tensor
    """(B + 1,) int64"""
    lengths: torch.Tensor
    """(B,) int64, 0 for a row without history"""
    row: torch.Tensor
    """(V,) int64, the row that each element belongs to"""
    position: torch.Tensor
    """(V,) int64, each element's place in its history, 0 for the oldest"""

    @classmethod
    def of(cls, offsets: torch.Tensor) -> "Histories":
        lengths = offsets.diff()
        row = torch.repeat_interleave(lengths)
        return cls(offsets, lengths, row, torch.arange(len(row), device=offsets.device) - offsets[row])

    def __len__(self) -> int:
        """V"""
        return len(self.row)

    def softmax(self, scores: torch.Tensor) -> torch.Tensor:
        """Weights that sum to 1 in each history: (V,) → (V,)."""
        highest = torch.segment_reduce(scores.detach(), "max", offsets=self.offsets)
        exponentials = (scores - highest[self.row]).exp()
        totals = torch.segment_reduce(exponentials, "sum", offsets=self.offsets)
        return exponentials / totals[self.row]

    def weighted_sum(self, weights: torch.Tensor, elements: torch.Tensor) -> torch.Tensor:
        """Σ of w·e over each history, zeros where it is empty: (V,) and (V, d) → (B, d)."""
        every = torch.arange(len(self), device=elements.device)
        return functional.embedding_bag(
            every, elements, self.offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        )

    def causal_attention(self, joint: torch.Tensor, heads: int) -> torch.Tensor:
        """Each element's attention to itself and to the elements before it (Vaswani 2017), head by head.

        softmax(q·kᵀ / √(d/H))·v with H heads. Histories of like length are computed together, filled up to the longest
        of them by repeats of their last element, which no other element attends to because they come after it.

        Args:
            joint: (V, 3d), queries, keys and values side by side.

        Returns:
            (V, d), the heads side by side.
        """
        outputs, places = [], []
        for index, is_element in self._by_length():
            block = functional.embedding(index, joint).view(*index.shape, 3, heads, -1)  # (b, L, 3, H, d/H)
            query, key, value = block.permute(2, 0, 3, 1, 4).unbind(0)
            attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            outputs.append(attended.transpose(1, 2).flatten(2)[is_element])
            places.append(index[is_element])
        return functional.embedding(torch.cat(places).argsort(), torch.cat(outputs))

    def _by_length(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Elements of the rows whose length is in (2^(k-1), 2^k], for each k that has any.

        Yields:
            (b, L) int64 index of elements, and (b, L) bool, False for the repeats that fill up a row.
        """
        longest = int(self.lengths.max())
        step = torch.arange(longest, device=self.offsets.device)
        low, high = 0, 1
        while low < longest:
            rows = ((self.lengths > low) & (self.lengths <= high)).nonzero()
            if len(rows):
                lengths = self.lengths[rows]
                place = step[: min(high, longest)]
                yield self.offsets[rows] + torch.minimum(place, lengths - 1), place < lengths
            low, high = high, 2 * high
