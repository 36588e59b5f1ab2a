"""Field-matrixed factorization machine (Sun 2021)."""

import torch
from torch import nn

from exfm_ray.config import FmFamModel
from exfm_ray.models.embedding import Embedding, first_order_terms
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.model import Model
from exfm_ray.models.pair_sums import pair_sum
from exfm_ray.models.pair_terms import pair_terms
from exfm_ray.models.pairs import FieldPairs
from exfm_ray.schema import Schema


class FmFam(Model):
    """bias + Σᵢ wᵢ + Σ_{i<j} ⟨eᵢ·W_ij, eⱼ⟩, W_ij a matrix ("matrixed") or a diagonal ("vectorized") per pair of fields.

    x are the F first-order terms and the F(F − 1)/2 pairwise terms, φ their sum. Every W_ij starts as the identity,
    where the model is the factorization machine that it generalizes.
    """

    def __init__(self, config: FmFamModel, schema: Schema) -> None:
        super().__init__()
        self.first_order = first_order_terms(schema, config.init)
        self.embedding = Embedding(schema, config.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(1))
        self.pairs = FieldPairs(self.embedding.fields)
        dim = config.embedding_dim
        self.matrixed = config.interaction == "matrixed"
        start = torch.eye(dim) if self.matrixed else torch.ones(dim)
        self.between = nn.Parameter(start.repeat(self.pairs.count, *[1] * start.dim()))
        self.width = self.embedding.fields + self.pairs.count

    def backbone(self, inputs: Inputs) -> torch.Tensor:
        return self._terms(inputs, self.embedding(inputs))

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(dim=1, keepdim=True) + self.bias

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """As `serve(backbone(inputs))` but for rounding: a sum over pairs costs a fraction of its terms."""
        return self._logits(inputs, self.embedding(inputs))

    def logits_and_backbone(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        fields = self.embedding(inputs)
        return self._logits(inputs, fields), self._terms(inputs, fields)

    def _terms(self, inputs: Inputs, fields: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.first_order(inputs).squeeze(2), pair_terms(fields, self.between)], dim=1)

    def _logits(self, inputs: Inputs, fields: torch.Tensor) -> torch.Tensor:
        second_order = pair_sum(fields, self.between, self.pairs)
        logits: torch.Tensor = self.first_order(inputs).sum(dim=1) + second_order.unsqueeze(1) + self.bias
        return logits
