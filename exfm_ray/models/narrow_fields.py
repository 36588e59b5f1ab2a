"""Fields of few values, which the layers that read all vectors first read as values instead of as vectors.

Side by side, the vectors of all fields are x0, (B, F·D). But the vectors of a field of R < D values are R of them, and
that of a number is the number times one: x0 = columns·basis, in columns of which such a field has R, or one, instead of
D. What a layer makes of x0 it makes as well of the columns, by weights of as few columns: W·x0 = (W·basisᵀ)·columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from exfm_ray.models.inputs import Inputs
from exfm_ray.schema import Schema

LEAST_SAVED = 2**27
"""multiply-adds of one way through the layers, below which making columns and weights costs more than it saves"""


@dataclass(frozen=True)
class FieldWidths:
    """Which of F fields are narrow. Columns are those of the wide fields' vectors, of narrow features, of numbers."""

    fields: int
    dim: int
    narrow: tuple[int, ...]
    """categorical features of fewer than D rows; features are the first fields"""
    rows: tuple[int, ...]
    """of each of them"""
    numbers: range
    """fields that are numbers"""

    @classmethod
    def of(cls, schema: Schema, dim: int) -> "FieldWidths":
        features, numbers = schema.of_kind("categorical"), len(schema.of_kind("numeric"))
        narrow = tuple(index for index, feature in enumerate(features) if feature.rows < dim)
        return cls(
            fields=len(features) + numbers + len(schema.of_kind("sequence")),
            dim=dim,
            narrow=narrow,
            rows=tuple(features[index].rows for index in narrow),
            numbers=range(len(features), len(features) + numbers),
        )

    @cached_property
    def wide(self) -> list[int]:
        """All other fields."""
        return sorted({*range(self.fields)} - {*self.narrow, *self.numbers})

    @cached_property
    def runs(self) -> list[tuple[slice, slice]]:
        """Numbers of x0 that lie side by side among the columns, too, and where there: those of wide fields."""
        found, at = [], 0
        for _, run in groupby(enumerate(self.wide), key=lambda pair: pair[1] - pair[0]):
            fields = [wide for _, wide in run]
            width = len(fields) * self.dim
            begin = fields[0] * self.dim
            found.append((slice(begin, begin + width), slice(at, at + width)))
            at += width
        return found

    @property
    def of_rows(self) -> slice:
        """Columns of narrow features' rows."""
        first = len(self.wide) * self.dim
        return slice(first, first + sum(self.rows))

    @property
    def of_numbers(self) -> slice:
        """Columns of numbers."""
        return slice(self.of_rows.stop, self.columns)

    @property
    def columns(self) -> int:
        return len(self.wide) * self.dim + sum(self.rows) + len(self.numbers)

    def pays(self, inputs: Inputs, outputs: int) -> bool:
        """Whether layers of so many outputs together had better read columns: on a CPU, where it is work that costs."""
        saved = len(inputs) * outputs * (self.fields * self.dim - self.columns)
        return saved >= LEAST_SAVED and inputs.numeric.device.type == "cpu"

    def table_rows(self, starts: Sequence[int]) -> torch.Tensor:
        """Rows of narrow features in a fused table, each feature's filled up to R with its last: (N·R,) int64."""
        most = torch.arange(max(self.rows, default=0))
        found = [starts[index] + most.clamp(max=rows - 1) for index, rows in zip(self.narrow, self.rows, strict=True)]
        return torch.cat(found) if found else most

    @cached_property
    def own_rows(self) -> torch.Tensor:
        """Which of these no feature is filled up with: (Σ rows,) int64."""
        most = max(self.rows, default=0)
        found = [torch.arange(place * most, place * most + rows) for place, rows in enumerate(self.rows)]
        return torch.cat(found) if found else torch.arange(0)

    def values(self, inputs: Inputs) -> torch.Tensor:
        """The columns after those of vectors: a 1 for the row of each narrow feature, then the numbers."""
        ones = inputs.numeric.new_zeros(len(inputs), sum(self.rows))
        starts = torch.tensor(list(accumulate(self.rows, initial=0))[:-1], dtype=torch.int64)
        ones.scatter_(1, inputs.categorical[:, list(self.narrow)] + starts, 1.0)
        return torch.cat([ones, inputs.numeric], dim=1)


class Columns:
    """How layers with a backward pass of their own read x0: its numbers as they are."""

    def weights(self, weight: torch.Tensor) -> torch.Tensor:
        """A layer's weights for what is read, from those for x0, (m, n)."""
        return weight

    def of(self, start: torch.Tensor, piece: slice) -> torch.Tensor:
        """What is read of some rows of x0."""
        return start[piece]

    def backward_weights(self, weights: torch.Tensor) -> torch.Tensor:
        """The weights, of what is read, that gradients go back through."""
        return weights

    def add_to(self, by_start: torch.Tensor, by_read: torch.Tensor) -> None:
        """Add gradients that came back through those weights to the gradients of as many rows of x0."""
        by_start += by_read


AS_THEY_ARE = Columns()


@dataclass(frozen=True)
class FewColumns(Columns):
    """The vectors of wide fields, and a batch's narrow ones as values."""

    widths: FieldWidths
    values: torch.Tensor
    """(B, columns of rows and of numbers), no parameter's"""
    vectors: torch.Tensor
    """(N·R, D) of the N narrow features, R being the rows of the largest"""
    numeric: torch.Tensor | None
    """(numbers, D) vectors of numeric fields"""

    def weights(self, weight: torch.Tensor) -> torch.Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            found: torch.Tensor = _Weights.apply(weight, self.vectors, self.numeric, self.widths)  # type: ignore[no-untyped-call]
        return found

    def of(self, start: torch.Tensor, piece: slice) -> torch.Tensor:
        return torch.cat([*(start[piece, of] for of, _ in self.widths.runs), self.values[piece]], dim=1)

    def backward_weights(self, weights: torch.Tensor) -> torch.Tensor:
        return weights[:, : self.widths.of_rows.start].contiguous()

    def add_to(self, by_start: torch.Tensor, by_read: torch.Tensor) -> None:
        for of, at in self.widths.runs:
            by_start[:, of] += by_read[:, at]


class _Weights(torch.autograd.Function):
    """W·basisᵀ: (m, F·D), (N·R, D) and (numbers, D) → (m, columns)."""

    @staticmethod
    def forward(
        ctx: Any, weight: torch.Tensor, vectors: torch.Tensor, numeric: torch.Tensor | None, widths: FieldWidths
    ) -> torch.Tensor:
        ctx.save_for_backward(weight, vectors, numeric)
        ctx.widths = widths
        found = weight.new_empty(len(weight), widths.columns)
        for of, at in widths.runs:
            found[:, at] = weight[:, of]
        by_field = weight.view(len(weight), widths.fields, widths.dim)
        of_rows = torch.bmm(_by_feature(vectors, widths), by_field[:, list(widths.narrow)].permute(1, 2, 0))
        found[:, widths.of_rows] = of_rows.flatten(0, 1)[widths.own_rows].t()
        if numeric is not None:
            found[:, widths.of_numbers] = torch.einsum("mnd,nd->mn", by_field[:, list(widths.numbers)], numeric)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[torch.Tensor | None, ...]:
        (grad,), (weight, vectors, numeric), widths = grad_outputs, ctx.saved_tensors, ctx.widths
        by_weight = torch.empty_like(weight)
        for of, at in widths.runs:
            by_weight[:, of] = grad[:, at]
        by_field, of_field = (matrix.view(len(weight), widths.fields, widths.dim) for matrix in (by_weight, weight))
        narrow, numbers = list(widths.narrow), list(widths.numbers)
        of_rows = vectors.new_zeros(len(vectors), len(weight))
        of_rows[widths.own_rows] = grad[:, widths.of_rows].t()
        of_rows = _by_feature(of_rows, widths)
        by_field[:, narrow] = torch.bmm(of_rows.mT, _by_feature(vectors, widths)).permute(1, 0, 2)
        by_vectors = torch.bmm(of_rows, of_field[:, narrow].permute(1, 0, 2)).flatten(0, 1)
        by_numeric = None
        if numeric is not None:
            of_numbers = grad[:, widths.of_numbers]
            by_field[:, numbers] = of_numbers.unsqueeze(2) * numeric
            by_numeric = torch.einsum("mn,mnd->nd", of_numbers, of_field[:, numbers])
        return by_weight, by_vectors, by_numeric, None


def _by_feature(rows: torch.Tensor, widths: FieldWidths) -> torch.Tensor:
    """(N·R, d) → (N, R, d)"""
    return rows.view(len(widths.narrow), max(widths.rows, default=0), rows.shape[1])
