"""Deep and cross network, version 2, full rank and parallel (Wang 2021)."""

import torch
from torch import nn

from exfm_ray.config import DcnV2Model
from exfm_ray.models.cross import matrix_cross
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.mlp import linear, mlp
from exfm_ray.models.model import Model
from exfm_ray.models.towers import task_outputs
from exfm_ray.schema import Schema


class DcnV2(Model):
    """Linear[cross(x0) ; MLP(x0)] with x_{l+1} = x_l + x0 ⊙ (W_l x_l + b_l); one linear output or tower per task."""

    def __init__(self, config: DcnV2Model, schema: Schema, tasks: int) -> None:
        super().__init__()
        self.embedding = Embedding(schema, config.embedding_dim)
        inputs = self.embedding.fields * config.embedding_dim
        self.cross = nn.ModuleList(linear(inputs, inputs) for _ in range(config.cross_layers))
        self.deep = mlp(inputs, config.hidden, dropout=config.dropout, batch_norm=config.batch_norm)
        self.width = inputs + config.hidden[-1]
        self.out = task_outputs(self.width, config.tower_hidden, tasks)

    def backbone(self, inputs: Inputs) -> torch.Tensor:
        parameters = list(self.cross.parameters())
        start, columns = self.embedding.start(inputs, self.deep.reading + len(parameters[0]))
        return matrix_cross(start, self.deep(start, columns), parameters, columns)

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(x)
        return logits
