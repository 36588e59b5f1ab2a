"""Embedding tables of all features, fused into one parameter so that a batch needs one gather."""

import torch
from torch import nn

from exfm_ray.config import FirstOrderStart
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.lookup import Lookup, TableLayout
from exfm_ray.models.narrow_fields import AS_THEY_ARE, Columns, FewColumns, FieldWidths
from exfm_ray.models.products import is_torch_alone
from exfm_ray.models.vectors import TableVectors, TouchedVectors, Vectors
from exfm_ray.schema import Schema

INITIAL_STD = 1e-4
NUMERIC_STD = 0.1
"""of the vectors of numeric fields: at the tables' scale, products of two such fields would start at 1e-8 and never be
learned; at Xavier's, the random product of two fields would drown a factorization machine's first thousand steps"""


class Embedding(nn.Module):
    """Turns a batch into one D-dimensional vector per field: (B, F, D), F = categorical + numeric + sequence features.

    A categorical field is its row, a numeric one x·v, a sequence the mean or sum over its history (zero where the
    history is empty). The table's gradient is sparse and coalesced: it has the rows that a batch touches, each once.

    Args:
        dim: D.
        share: whether a sequence uses the table of the feature that it shares, or one of its own.
        pooling: of sequences, "mean" or "sum".
        numeric_std: standard deviation of the v of numeric fields at the start.
    """

    layout: TableLayout
    table_sizes: list[int]
    """rows of the fused tables, in their order: of the categorical features, then of what sequences do not share"""
    names: tuple[str, ...]
    """of the F fields, in their order"""
    widths: FieldWidths
    """of which few values are known"""

    def __init__(
        self,
        schema: Schema,
        dim: int,
        *,
        share: bool = True,
        pooling: str = "mean",
        numeric_std: float = NUMERIC_STD,
    ) -> None:
        super().__init__()
        categorical, sequences = schema.of_kind("categorical"), schema.of_kind("sequence")
        rows_of = {feature.name: feature.rows for feature in categorical}
        starts: dict[str, int] = {}
        total = 0
        for feature in categorical:
            starts[feature.name] = total
            total += feature.rows
        sequence_starts = []
        self.table_sizes = [feature.rows for feature in categorical]
        for feature in sequences:
            assert feature.shares is not None
            sequence_starts.append(starts[feature.shares] if share else total)
            if not share:
                total += rows_of[feature.shares]
                self.table_sizes.append(rows_of[feature.shares])
        self.layout = TableLayout(tuple(starts[f.name] for f in categorical), tuple(sequence_starts), total)
        self.pooling = pooling
        self.names = tuple(f.name for kind in ("categorical", "numeric", "sequence") for f in schema.of_kind(kind))
        self.fields = len(self.names)
        self.widths = FieldWidths.of(schema, dim)
        self.table = nn.Parameter(torch.empty(total, dim).normal_(std=INITIAL_STD))
        self.numeric: nn.Parameter | None = None
        if numeric := schema.of_kind("numeric"):
            self.numeric = nn.Parameter(torch.empty(len(numeric), dim).normal_(std=numeric_std))

    def places_in(self, larger: "Embedding") -> torch.Tensor:
        """Where each row of the fused table stands in one for larger vocabularies: (rows,) int64.

        Rows are appended to a table before its last row, which stays the last: it is that of all unknown ids.
        """
        places, start = [], 0
        for size, room in zip(self.table_sizes, larger.table_sizes, strict=True):
            places += [torch.arange(start, start + size - 1), torch.tensor([start + room - 1])]
            start += room
        return torch.cat(places).to(self.table.device)

    def grow_to(self, larger: "Embedding", places: torch.Tensor) -> None:
        """Take the table of an embedding for larger vocabularies, and put the own rows into it.

        The parameter stays the same object, so that its optimizer knows it still; the larger embedding is used up.

        Args:
            places: of the own rows in the larger table.
        """
        self.table.grad = None
        self.table.data = larger.table.data.index_copy_(0, places, self.table.data)
        self.layout, self.table_sizes, self.widths = larger.layout, larger.table_sizes, larger.widths

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """(B, F, D)"""
        return self.vectors(inputs).fields()

    def start(self, inputs: Inputs, outputs: int) -> tuple[torch.Tensor, Columns]:
        """x0, the vectors of all fields side by side, and how the layers that read it first read it best: (B, F·D)

        Args:
            outputs: of all these layers together.
        """
        if is_torch_alone() or not self.widths.pays(inputs, outputs):
            return self(inputs).flatten(1), AS_THEY_ARE
        rows = self.widths.table_rows(self.layout.categorical)
        vectors, of_rows = self.vectors(inputs).fields_and_rows(rows)
        return vectors.flatten(1), FewColumns(self.widths, self.widths.values(inputs), of_rows, self.numeric)

    def vectors(self, inputs: Inputs) -> Vectors:
        """The vectors of a batch; whatever is read of them, the table is read once."""
        if torch.is_grad_enabled():
            return TouchedVectors(inputs, self.table, self.numeric, self.pooling, Lookup.of(inputs, self.layout))
        return TableVectors(inputs, self.table, self.numeric, self.pooling, self.layout)


def first_order_terms(schema: Schema, start: FirstOrderStart) -> Embedding:
    """A number per feature value, as a factorization machine's first order needs; sequences have their own, summed.

    Args:
        start: "fuxictr" starts the sequences' tables at N(0, 1), as FuxiCTR 2.1.0 and later leave them: the sum over a
            history then begins with a standard deviation of √length, and training first has to undo it.
    """
    terms = Embedding(schema, 1, share=False, pooling="sum", numeric_std=INITIAL_STD)
    if start == "fuxictr" and terms.layout.sequences:
        with torch.no_grad():
            terms.table[terms.layout.sequences[0] :].normal_()  # theirs are the last tables
    return terms
