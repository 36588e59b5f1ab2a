"""Two-tower network: user and item meet in a dot product only, so that items can be retrieved by nearest neighbours."""

from collections.abc import Sequence

import torch
from torch import nn

from exfm_ray.config import TwoTowerModel
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.mlp import mlp
from exfm_ray.models.model import Model
from exfm_ray.schema import Schema


class TwoTower(Model):
    """bias + MLP(user fields) · MLP(item fields), the towers' last layers linear (Huang 2013, Covington 2016).

    x is the elementwise product of the towers' outputs, so that φ, its sum plus the bias, is the dot product.

    Raises:
        ValueError: an item field is no feature, or no feature is left for the user tower.
    """

    users: torch.Tensor
    items: torch.Tensor

    def __init__(self, config: TwoTowerModel, schema: Schema) -> None:
        super().__init__()
        self.embedding = Embedding(schema, config.embedding_dim)
        items = item_positions(config.item_fields, self.embedding.names)
        users = [position for position in range(self.embedding.fields) if position not in items]
        # on the CPU as in Embedding
        self.register_buffer("users", torch.tensor(users, device="cpu"), persistent=False)
        self.register_buffer("items", torch.tensor(items, device="cpu"), persistent=False)
        self.user_tower = mlp(len(users) * config.embedding_dim, config.hidden, config.tower_dim)
        self.item_tower = mlp(len(items) * config.embedding_dim, config.hidden, config.tower_dim)
        self.bias = nn.Parameter(torch.zeros(1))
        self.width = config.tower_dim

    def backbone(self, inputs: Inputs) -> torch.Tensor:
        fields = self.embedding(inputs)
        return self._users_of(fields) * self._items_of(fields)

    def user_vectors(self, inputs: Inputs) -> torch.Tensor:
        """The user tower's outputs, (B, tower_dim), whatever the item fields hold."""
        return self._users_of(self.embedding(inputs))

    def item_vectors(self, inputs: Inputs) -> torch.Tensor:
        """The item tower's outputs, (B, tower_dim), whatever the user fields hold."""
        return self._items_of(self.embedding(inputs))

    def meet(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Logits of every user with every item: (U, tower_dim), (I, tower_dim) → (U, I).

        `forward` of a row's user and item, but for the order in which the products are summed.
        """
        return users @ items.T + self.bias

    def _users_of(self, fields: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.user_tower(fields.index_select(1, self.users).flatten(1))
        return vectors

    def _items_of(self, fields: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.item_tower(fields.index_select(1, self.items).flatten(1))
        return vectors

    def serve(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(dim=1, keepdim=True) + self.bias


def item_positions(item_fields: Sequence[str], names: Sequence[str]) -> list[int]:
    """Where the item tower's fields stand among all fields, in order.

    Raises:
        ValueError: a name is unknown, or every field is the items'.
    """
    for name in item_fields:
        if name not in names:
            raise ValueError(f"item_fields names {name!r}, which is no feature here; choose from {', '.join(names)}")
    positions = [position for position, name in enumerate(names) if name in item_fields]
    if len(positions) == len(names):
        raise ValueError(f"item_fields names all {len(names)} features; leave at least one to the user tower")
    return positions
