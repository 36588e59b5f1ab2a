"""Field-matrixed factorization machine (Sun 2021)."""

import torch
from torch import nn

from exfm_ray.config import FmFamModel
from exfm_ray.models.embedding import Embedding, first_order_terms
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.model import Model
from exfm_ray.models.pair_interaction import pair_interaction
from exfm_ray.models.pairs import FieldPairs
from exfm_ray.schema import Schema


class FmFam(Model):
    """bias + Σᵢ wᵢ + Σ_{i<j} ⟨eᵢ·W_ij, eⱼ⟩, W_ij a matrix ("matrixed") or a diagonal ("vectorized") per pair of fields.

    x are the F first-order and D second-order terms, as of the factorization machine, φ their sum. Every W_ij starts as
    the identity, where the model is the factorization machine that it generalizes.
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
        self.width = self.embedding.fields + dim

    def backbone(self, inputs: Inputs) -> torch.Tensor:
        vectors = self.embedding(inputs).flatten(1)
        terms = pair_interaction(vectors, self.between, self.pairs)
        return torch.cat([self.first_order(inputs).squeeze(2), terms], dim=1)

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(dim=1, keepdim=True) + self.bias
