"""Wukong (Zhang 2024), a stack of interaction layers whose size is one knob; with more blocks a DHEN (Zhang 2022)."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from exfm_ray.config import InteractionBlock, WukongModel
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.mlp import linear, mlp
from exfm_ray.models.model import Model
from exfm_ray.models.towers import task_outputs
from exfm_ray.schema import Schema


class Mixing(nn.Module):
    """W·X, each output a weighted sum of the input embeddings: (B, n, D) → (B, m, D)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(outputs, inputs)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight @ x


class FactorizationBlock(nn.Module):
    """MLP(LN(X·(Xᵀ·Y))): dot products of all pairs of embeddings, compressed by Y to k columns before they are formed.

    (B, n, D) → (B, m, D) (Wukong's FMB).
    """

    def __init__(self, inputs: int, outputs: int, dim: int, rank: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.outputs, self.dim = outputs, dim
        self.compression = nn.Parameter(nn.init.xavier_normal_(torch.empty(inputs, rank)))
        self.norm = nn.LayerNorm(inputs * rank)
        self.layers = mlp(inputs * rank, hidden, outputs * dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        products = x @ (x.transpose(1, 2) @ self.compression)
        made: torch.Tensor = self.layers(self.norm(products.flatten(1)))
        return made.view(-1, self.outputs, self.dim)


class CrossBlock(nn.Module):
    """(W·X) ⊙ (V·vec(X) + b), as a layer of DCNv2 crosses: (B, n, D) → (B, m, D)."""

    def __init__(self, inputs: int, outputs: int, dim: int) -> None:
        super().__init__()
        self.mixing = Mixing(inputs, outputs)
        self.gate = linear(inputs * dim, outputs * dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.mixing(x)
        gate: torch.Tensor = self.gate(x.flatten(1))
        return mixed * gate.view_as(mixed)


class AttentionBlock(nn.Module):
    """W·(softmax(QKᵀ/√D)·V), the embeddings attending to each other: (B, n, D) → (B, m, D)."""

    def __init__(self, inputs: int, outputs: int, dim: int) -> None:
        super().__init__()
        self.joint = linear(dim, 3 * dim, bias=False)
        self.mixing = Mixing(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.joint(x).chunk(3, dim=2)
        mixed: torch.Tensor = self.mixing(functional.scaled_dot_product_attention(query, key, value))
        return mixed


class InteractionLayer(nn.Module):
    """LN([blocks(X)] + shortcut(X)), the blocks' embeddings end to end: (B, n, D) → (B, blocks·m, D).

    The shortcut is X itself where the counts agree, otherwise a mixing.
    """

    def __init__(self, config: WukongModel, inputs: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_block(name, config, inputs) for name in config.blocks)
        self.outputs = config.embeddings_of_block * len(config.blocks)
        self.shortcut = nn.Identity() if inputs == self.outputs else Mixing(inputs, self.outputs)
        self.norm = nn.LayerNorm(config.embedding_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = torch.cat([block(x) for block in self.blocks], dim=1)
        normed: torch.Tensor = self.norm(made + self.shortcut(x))
        return normed


def _block(name: InteractionBlock, config: WukongModel, inputs: int) -> nn.Module:
    outputs, dim = config.embeddings_of_block, config.embedding_dim
    match name:
        case "fm":
            (rank,) = config.scaled((config.rank,))
            return FactorizationBlock(inputs, outputs, dim, rank, config.scaled(config.block_hidden))
        case "linear":
            return Mixing(inputs, outputs)
        case "cross":
            return CrossBlock(inputs, outputs, dim)
        case "attention":
            return AttentionBlock(inputs, outputs, dim)


class Wukong(Model):
    """Logits of the tasks from x = MLP[layers(X)], X the fields' embeddings; one linear output or tower per task."""

    def __init__(self, config: WukongModel, schema: Schema, tasks: int) -> None:
        super().__init__()
        self.embedding = Embedding(schema, config.embedding_dim)
        embeddings, layers = self.embedding.fields, []
        for _ in range(config.layers):
            layers.append(InteractionLayer(config, embeddings))
            embeddings = layers[-1].outputs
        self.interactions = nn.Sequential(*layers)
        hidden = config.scaled(config.hidden)
        self.deep = mlp(embeddings * config.embedding_dim, hidden)
        self.width = hidden[-1]
        self.out = task_outputs(self.width, config.tower_hidden, tasks)

    def backbone(self, inputs: Inputs) -> torch.Tensor:
        x: torch.Tensor = self.deep(self.interactions(self.embedding(inputs)).flatten(1))
        return x

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(x)
        return logits
