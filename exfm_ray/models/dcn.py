"""Deep and cross network, its first version (Wang 2017)."""

import torch
from torch import nn

from exfm_ray.config import DcnModel
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.mlp import mlp
from exfm_ray.models.model import Model
from exfm_ray.models.products import linear
from exfm_ray.models.towers import task_outputs
from exfm_ray.schema import Schema


class VectorCross(nn.Module):
    """(B, n) → (B, n) by layers x_{l+1} = x_l + (w_l·x_l) x0 + b_l with w_l, b_l ∈ R^n (Wang 2017, Eq. 3).

    Every x_l is c_l x0 + d_l with a number c_l per row and d_l = b_0 + … + b_{l-1} for all rows, so that the layers
    need of the rows their products w_l·x0 alone: c_{l+1} = c_l (1 + w_l·x0) + w_l·d_l, from c_0 = 1.
    """

    def __init__(self, inputs: int, layers: int) -> None:
        super().__init__()
        xavier_std = (2 / (inputs + 1)) ** 0.5  # of one layer's map from n numbers to one
        self.weight = nn.Parameter(torch.empty(layers, inputs).normal_(std=xavier_std))
        self.bias = nn.Parameter(torch.zeros(layers, inputs))

    def forward(self, start: torch.Tensor) -> torch.Tensor:
        products = linear(start, self.weight)
        scale, shift = torch.ones_like(products[:, 0]), torch.zeros_like(self.bias[0])
        for product, weight, bias in zip(products.unbind(1), self.weight, self.bias, strict=True):
            scale = scale * (1 + product) + weight @ shift
            shift = shift + bias
        return torch.addcmul(shift, scale.unsqueeze(1), start)


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
        start = self.embedding(inputs).flatten(1)
        return torch.cat([self.cross(start), self.deep(start)], dim=1)

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(x)
        return logits
