"""Deep and cross network, its first version (Wang 2017)."""

import torch
from torch import nn

from exfm_ray.config import DcnModel
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.mlp import mlp
from exfm_ray.models.model import Model
from exfm_ray.models.towers import task_outputs
from exfm_ray.models.vector_cross import vector_cross
from exfm_ray.schema import Schema


class VectorCross(nn.Module):
    """(B, n) → (B, n + m) by layers with w_l, b_l ∈ R^n, beside m numbers of each row."""

    def __init__(self, inputs: int, layers: int) -> None:
        super().__init__()
        xavier_std = (2 / (inputs + 1)) ** 0.5  # of one layer's map from n numbers to one
        self.weight = nn.Parameter(torch.empty(layers, inputs).normal_(std=xavier_std))
        self.bias = nn.Parameter(torch.zeros(layers, inputs))

    def forward(self, start: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        return vector_cross(start, self.weight, self.bias, beside)


class Dcn(Model):
    """Linear[cross(x0) ; MLP(x0)], x0 the concatenated embeddings; one linear output or tower per task."""

    def __init__(self, config: DcnModel, schema: Schema, tasks: int) -> None:
        super().__init__()
        self.embedding = Embedding(schema, config.embedding_dim)
        inputs = self.embedding.fields * config.embedding_dim
        self.cross = VectorCross(inputs, config.cross_layers)
        self.deep = mlp(inputs, config.hidden, dropout=config.dropout, batch_norm=config.batch_norm)
        self.width = inputs + config.hidden[-1]
        self.out = task_outputs(self.width, config.tower_hidden, tasks)

    def backbone(self, inputs: Inputs) -> torch.Tensor:
        start, columns = self.embedding.start(inputs, self.deep.reading)
        x: torch.Tensor = self.cross(start, self.deep(start, columns))
        return x

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(x)
        return logits
