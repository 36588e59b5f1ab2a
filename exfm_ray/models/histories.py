"""Computation over a batch's histories where they lie end to end, without padding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from exfm_ray.models.pieces import piece_size

Pieced = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""of rows that are equally long, (n, L, d), to one or several results (n, L, …)"""


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
            every,
            elements,
            self.offsets,
            mode="sum",
            per_sample_weights=weights.to(elements.dtype),
            include_last_offset=True,
        )

    def in_blocks(self, function: Pieced, elements: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What a function of whole histories gives for each element, computed for a block of rows after the other.

        A block's rows are of like length, and filled up to the longest of them by repeats of their last element: so a
        function that lets no element see a later one is not changed by them.

        Args:
            function: (n, L, d) → results (n, L, …).
            elements: (V, d), V > 0.

        Returns:
            of each result (V, …).
        """
        lengths = self.lengths.tolist()
        blocks = [block for block in _blocks(lengths, piece_size(elements.device)) if lengths[block.start]]
        sizes = [sum(lengths[block]) for block in blocks]
        pieces = torch.split(
            elements, sizes
        )  # its gradient is one copy, where each slice's would be as large as all elements
        done = [self._in_block(function, block, piece) for block, piece in zip(blocks, pieces, strict=True)]
        return tuple(torch.cat(results) for results in zip(*done, strict=True))

    def _in_block(self, function: Pieced, block: slice, piece: torch.Tensor) -> Sequence[torch.Tensor]:
        lengths = self.lengths[block]
        rows, longest = len(lengths), int(lengths.max())
        if len(piece) == rows * longest:
            return [result.flatten(0, 1) for result in function(piece.view(rows, longest, -1))]
        place, lengths = torch.arange(longest, device=piece.device), lengths.unsqueeze(1)
        starts = (self.offsets[block] - self.offsets[block.start]).unsqueeze(1)
        filled = functional.embedding(starts + torch.minimum(place, lengths - 1), piece)
        return [result[place < lengths] for result in function(filled)]


def _blocks(lengths: list[int], most: int) -> Iterator[slice]:
    """Runs of rows in which none is longer than twice another, and which have `most` elements when filled up."""
    start, shortest, longest = 0, lengths[0], lengths[0]
    for row, length in enumerate(lengths):
        shorter, longer = min(shortest, length), max(longest, length)
        if longer > 2 * shorter or longer * (row + 1 - start) > most:
            if row > start:
                yield slice(start, row)
            start, shorter, longer = row, length, length
        shortest, longest = shorter, longer
    yield slice(start, len(lengths))


def causal_attention(joint: torch.Tensor, heads: int) -> torch.Tensor:
    """Each element's attention to itself and to the elements before it (Vaswani 2017), head by head.

    softmax(q·kᵀ / √(d/H))·v with H heads.

    Args:
        joint: (n, L, 3d), queries, keys and values side by side.

    Returns:
        (n, L, d), the heads side by side.
    """
    query, key, value = joint.view(*joint.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return attended.transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class LongestFirst:
    """Histories with those of like length beside each other, and the way there and back."""

    histories: Histories
    rows: torch.Tensor | None
    """(B,) int64, where each row comes from; None where the rows stay as they are"""
    origin: torch.Tensor | None
    """(V,) int64, where each element comes from"""

    @classmethod
    def of(cls, offsets: torch.Tensor) -> "LongestFirst":
        histories = Histories.of(offsets)
        if not bool(histories.lengths.diff().any()):
            return cls(histories, None, None)
        lengths, rows = histories.lengths.sort(descending=True, stable=True)
        ordered = Histories.of(torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]))
        return cls(ordered, rows, offsets[rows][ordered.row] + ordered.position)

    def of_rows(self, values: torch.Tensor) -> torch.Tensor:
        """(B, …), a value for each row, in the order of `histories`."""
        return values if self.rows is None else values.index_select(0, self.rows)

    def of_elements(self, values: torch.Tensor) -> torch.Tensor:
        """(V, …), a value for each element, in the order of `histories`."""
        return values if self.origin is None else values.index_select(0, self.origin)

    def back(self, values: torch.Tensor) -> torch.Tensor:
        """(B, …), a value for each row of `histories`, in the order from which they come."""
        return values if self.rows is None else torch.empty_like(values).index_copy(0, self.rows, values)
