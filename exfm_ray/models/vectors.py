"""A batch's vectors, read from an embedding table: for training from the touched rows, otherwise from the table itself.

In training the touched rows are first copied next to each other, since they are read many times (a batch of 8,192 rows
with three histories of 50 has 1.4 million ids of 0.1 million rows). A row's gradient is the sum of the gradients of all
that it was read into, each touched row written once; nothing is as large as the table.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from exfm_ray.models.inputs import Inputs
from exfm_ray.models.lookup import Bags, Lookup, TableLayout


class Vectors(ABC):
    """What can be read: a vector per field and row, or one per element of histories."""

    @abstractmethod
    def fields(self, pooled: Sequence[int] | None = None) -> torch.Tensor:
        """Categorical, numeric and pooled sequence fields, in this order: (B, F, D).

        Args:
            pooled: indices of the sequences that are fields; None takes all.
        """

    @abstractmethod
    def fields_and_rows(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All fields, and some rows of the table: (B, F, D), (n, D).

        Args:
            rows: (n,) int64; of those that the batch does not touch any vector may stand there.
        """

    @abstractmethod
    def elements(self, sequences: Sequence[int]) -> torch.Tensor:
        """Every element of sequences of like lengths side by side, the rows' histories end to end: (V, sequences·D)."""


class TableVectors(Vectors):
    """Read from the table, without a way back for gradients; torch.export can follow it."""

    def __init__(
        self, inputs: Inputs, table: torch.Tensor, numeric: torch.Tensor | None, pooling: str, layout: TableLayout
    ) -> None:
        self.inputs, self.table, self.numeric, self.pooling, self.layout = inputs, table, numeric, pooling, layout

    def fields(self, pooled: Sequence[int] | None = None) -> torch.Tensor:
        starts = torch.tensor(self.layout.categorical, dtype=torch.int64, device=self.inputs.categorical.device)
        parts = [functional.embedding(self.inputs.categorical + starts, self.table)]
        if self.numeric is not None:
            parts.append(self.inputs.numeric.unsqueeze(2) * self.numeric)
        chosen = range(len(self.inputs.sequences)) if pooled is None else pooled
        return torch.cat([*parts, *(self._pooled(index).unsqueeze(1) for index in chosen)], dim=1)

    def fields_and_rows(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.fields(), self.table.index_select(0, rows)

    def elements(self, sequences: Sequence[int]) -> torch.Tensor:
        ids = [self.inputs.sequences[index].values + self.layout.sequences[index] for index in sequences]
        return functional.embedding(torch.stack(ids, dim=1), self.table).flatten(1)

    def _pooled(self, index: int) -> torch.Tensor:
        sequence = self.inputs.sequences[index]
        return functional.embedding_bag(
            sequence.values + self.layout.sequences[index],
            self.table,
            sequence.offsets,
            mode=self.pooling,
            include_last_offset=True,
        )


class TouchedVectors(Vectors):
    """Read from the rows that the batch touches, with gradients for them alone."""

    def __init__(
        self, inputs: Inputs, table: torch.Tensor, numeric: torch.Tensor | None, pooling: str, lookup: Lookup
    ) -> None:
        self.inputs, self.numeric, self.pooling, self.lookup = inputs, numeric, pooling, lookup
        self.touched: torch.Tensor = _TouchedRows.apply(table, lookup.rows)  # type: ignore[no-untyped-call]

    def fields(self, pooled: Sequence[int] | None = None) -> torch.Tensor:
        return self._fields(pooled, self.lookup.rows[:0])[0]

    def fields_and_rows(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        places = torch.searchsorted(self.lookup.rows, rows).clamp_(max=len(self.lookup.rows) - 1)
        return self._fields(None, places)

    def _fields(self, pooled: Sequence[int] | None, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """And the touched rows at places."""
        chosen = tuple(range(len(self.inputs.sequences)) if pooled is None else pooled)
        found: tuple[torch.Tensor, torch.Tensor] = _Fields.apply(  # type: ignore[no-untyped-call]
            self.touched, self.numeric, self.inputs.numeric, self.lookup, chosen, self.pooling == "mean", places
        )
        return found

    def elements(self, sequences: Sequence[int]) -> torch.Tensor:
        vectors: torch.Tensor = _Elements.apply(self.touched, self.lookup, tuple(sequences))  # type: ignore[no-untyped-call]
        return vectors


def summed(vectors: torch.Tensor, bags: Bags, weights: torch.Tensor | None = None) -> torch.Tensor:
    """(n, D) → (N, D), the sums of `bags`, each vector times its weight where there are weights, (E,)."""
    return functional.embedding_bag(
        bags.places, vectors, bags.offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


class _TouchedRows(torch.autograd.Function):
    """(R, D) → (U, D); the gradient is sparse and coalesced."""

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        ctx.rows, ctx.shape = rows, table.shape
        return table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None]:
        # sound by how the rows were found: ascending, each once
        gradient = torch.sparse_coo_tensor(
            ctx.rows.unsqueeze(0), gradients[0], ctx.shape, is_coalesced=True, check_invariants=False
        )
        return gradient, None


class _Fields(torch.autograd.Function):
    """(U, D) touched rows and (N, D) vectors of numeric fields → (B, F, D), and (n, D), touched rows at n places."""

    @staticmethod
    def forward(
        ctx: Any,
        touched: torch.Tensor,
        numeric: torch.Tensor | None,
        values: torch.Tensor,
        lookup: Lookup,
        pooled: tuple[int, ...],
        mean: bool,
        at: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows, features = lookup.categorical.shape
        first_pooled = features + (0 if numeric is None else len(numeric))
        fields = first_pooled + len(pooled)
        places = lookup.categorical.new_zeros(rows, fields)
        places[:, :features] = lookup.categorical
        vectors = touched.index_select(0, places.flatten()).view(rows, fields, -1)
        if numeric is not None:
            torch.mul(values.unsqueeze(2), numeric, out=vectors[:, features:first_pooled])
        shares = None
        if pooled:
            shares = touched.new_ones(rows, fields) if mean else None
        for column, index in enumerate(pooled, start=first_pooled):
            bags = lookup.sequences[index]
            total = summed(touched, bags)
            if shares is not None:
                share = bags.offsets.diff().clamp(min=1).to(touched.dtype).reciprocal()
                shares[:, column] = share
                total *= share.unsqueeze(1)
            vectors[:, column] = total
        ctx.lookup, ctx.pooled, ctx.shares, ctx.numeric = lookup, pooled, shares, slice(features, first_pooled)
        ctx.at = at
        ctx.save_for_backward(values)
        return vectors, touched.index_select(0, at)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        (gradient, of_rows), (values,) = gradients, ctx.saved_tensors
        of_numeric = None
        if ctx.needs_input_grad[1]:
            of_numeric = torch.einsum("bn,bnd->nd", values, gradient[:, ctx.numeric])
        bags = ctx.lookup.sums_over_fields(ctx.numeric.stop - ctx.numeric.start, ctx.pooled)
        weights = None if ctx.shares is None else ctx.shares.flatten().index_select(0, bags.places)
        of_touched = summed(gradient.contiguous().flatten(0, 1), bags, weights)
        of_touched.index_add_(0, ctx.at, of_rows)
        return of_touched, of_numeric, None, None, None, None, None


class _Elements(torch.autograd.Function):
    """(U, D) touched rows → (V, sequences·D)."""

    @staticmethod
    def forward(ctx: Any, touched: torch.Tensor, lookup: Lookup, sequences: tuple[int, ...]) -> torch.Tensor:
        ctx.lookup, ctx.sequences, ctx.dim = lookup, sequences, touched.shape[1]
        places = lookup.elements(sequences)
        return touched.index_select(0, places.flatten()).view(len(places), len(sequences) * ctx.dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[torch.Tensor, None, None]:
        bags = ctx.lookup.sums_over_elements(ctx.sequences)
        (gradient,) = gradients
        vectors = gradient.reshape(len(gradient) * len(ctx.sequences), ctx.dim)
        return summed(vectors, bags), None, None
