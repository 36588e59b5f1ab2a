"""Factorization machine beside an MLP on the same embeddings (Guo 2017)."""

import torch
from torch import nn

from exfm_ray.config import DeepFamModel
from exfm_ray.models.embedding import Embedding, first_order_terms
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.interaction import pairwise_interaction
from exfm_ray.models.mlp import linear, mlp
from exfm_ray.models.model import Model
from exfm_ray.schema import Schema


class DeepFam(Model):
    """FaM(x) + MLP(x0), x0 the concatenated embeddings.

    x are the first- and second-order terms and the MLP's last hidden layer; φ sums the terms and ends the MLP.
    """

    def __init__(self, config: DeepFamModel, schema: Schema) -> None:
        super().__init__()
        self.first_order = first_order_terms(schema, config.init)
        self.embedding = Embedding(schema, config.embedding_dim)
        self.bias = nn.Parameter(torch.zeros(1))
        inputs = self.embedding.fields * config.embedding_dim
        self.deep = mlp(inputs, config.hidden, dropout=config.dropout, batch_norm=config.batch_norm)
        self.deep_out = linear(config.hidden[-1], 1)
        self.terms = self.embedding.fields + config.embedding_dim
        self.width = self.terms + config.hidden[-1]

    def backbone(self, inputs: Inputs) -> torch.Tensor:
        vectors, columns = self.embedding.start(inputs, self.deep.reading)
        terms = [self.first_order(inputs).squeeze(2), pairwise_interaction(vectors, self.embedding.fields)]
        return torch.cat([*terms, self.deep(vectors, columns)], dim=1)

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        factorization = x[:, : self.terms].sum(dim=1, keepdim=True) + self.bias
        deep: torch.Tensor = self.deep_out(x[:, self.terms :])
        return factorization + deep
