"""Deep learning recommendation model (Naumov 2019)."""

import torch
from torch import nn

from exfm_ray.config import DlrmModel
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.mlp import mlp
from exfm_ray.models.model import Model
from exfm_ray.models.pairs import FieldPairs
from exfm_ray.models.towers import task_outputs
from exfm_ray.schema import Schema


class Dlrm(Model):
    """Top MLP over [dense vector ; dot products of all pairs of the dense vector and the fields' embeddings].

    The dense vector is the bottom MLP of the numeric features, D long, ReLU after each of its layers as in the
    published code. Without numeric features there is none. x is the top MLP's last hidden layer, φ its linear output
    or tower per task.

    Raises:
        ValueError: there is no pair to take a product of.
    """

    def __init__(self, config: DlrmModel, schema: Schema, tasks: int) -> None:
        super().__init__()
        numeric = len(schema.of_kind("numeric"))
        embedded = tuple(feature for feature in schema.features if feature.kind != "numeric")
        self.embedding = Embedding(schema.model_copy(update={"features": embedded}), config.embedding_dim)
        self.bottom: nn.Sequential | None = None
        if numeric:
            self.bottom = mlp(numeric, (*config.bottom_hidden, config.embedding_dim))
        self.pairs = FieldPairs(self.embedding.fields + (self.bottom is not None))
        if not self.pairs.count:
            raise ValueError("dlrm multiplies pairs of vectors, but these features give only one; add a feature")
        dense_width = config.embedding_dim if numeric else 0
        self.top = mlp(dense_width + self.pairs.count, config.top_hidden)
        self.width = config.top_hidden[-1]
        self.out = task_outputs(self.width, config.tower_hidden, tasks)

    def backbone(self, inputs: Inputs) -> torch.Tensor:
        vectors = self.embedding(inputs)
        dense = []
        if self.bottom is not None:
            dense = [self.bottom(inputs.numeric)]
            vectors = torch.cat([dense[0].unsqueeze(1), vectors], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.pairs.first, self.pairs.second]
        x: torch.Tensor = self.top(torch.cat([*dense, products], dim=1))
        return x

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(x)
        return logits
