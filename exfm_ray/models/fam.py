"""Factorization machine (Rendle 2010)."""

import torch
from torch import nn

from exfm_ray.config import FamModel
from exfm_ray.models.embedding import Embedding, first_order_terms
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.interaction import pairwise_interaction
from exfm_ray.models.model import Model
from exfm_ray.schema import Schema


class Fam(Model):
    """bias + Σᵢ wᵢ + ½ Σ_d [(Σᵢ eᵢ)² − Σᵢ eᵢ²]; x are the F first-order and D second-order terms, φ their sum."""

    def __init__(self, config: FamModel, schema: Schema) -> None:
        super().__init__()
        self.first_order = first_order_terms(schema, config.init)
        self.embedding = Embedding(schema, config.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(1))
        self.width = self.embedding.fields + config.embedding_dim

    def backbone(self, inputs: Inputs) -> torch.Tensor:
        vectors = self.embedding(inputs).flatten(1)
        terms = pairwise_interaction(vectors, self.embedding.fields)
        return torch.cat([self.first_order(inputs).squeeze(2), terms], dim=1)

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(dim=1, keepdim=True) + self.bias
