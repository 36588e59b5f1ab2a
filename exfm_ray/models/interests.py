"""Several interests of a user in a target, read off the user's history (Xiao 2020)."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from exfm_ray.config import DminModel
from exfm_ray.models import products
from exfm_ray.models.dice import Dice
from exfm_ray.models.dropout import Dropout, StepMasks
from exfm_ray.models.histories import Histories, causal_attention
from exfm_ray.models.mlp import linear, mlp
from exfm_ray.models.scores import scores


class FeedForward(nn.Module):
    """FFN(s) + s on s = LN(x): (…, d) → (…, d), FFN d → 2d → ReLU → d."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.layers = mlp(dim, (2 * dim,), dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(x)
        transformed: torch.Tensor = self.layers(normed)
        return transformed + normed


class Refiner(nn.Module):
    """Causal multi-head self-attention, residual, LayerNorm, then FFN with residual: (V, d) → (V, d)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.joint, self.out = linear(dim, 3 * dim), linear(dim, dim)
        self.feed_forward = FeedForward(dim)

    def forward(self, history: torch.Tensor, histories: Histories) -> torch.Tensor:
        (refined,) = histories.in_blocks(self._refined, history)
        return refined

    def _refined(self, block: torch.Tensor) -> tuple[torch.Tensor]:
        attended = self.out(causal_attention(self.joint(block), self.heads))
        return (self.feed_forward(attended + block),)


class TargetAttention(nn.Module):
    """Σ_l w_l·z_l over a history, w the softmax of MLP[t', z_l, t' − z_l, t' ⊙ z_l], t' = W_p[t ; pos_l] + b_p.

    Without positions t' = t. A history's elements beyond `max_length` share the last position.
    The learned vectors of the positions start at 0.
    """

    def __init__(self, dim: int, config: DminModel) -> None:
        super().__init__()
        self.dim = dim
        places, position_dim = config.max_length, config.position_dim
        self.positions = nn.Parameter(torch.zeros(places, position_dim)) if position_dim else None
        self.project = linear(dim + position_dim, dim) if position_dim else None
        activation, dropout = config.attention_activation, config.attention_dropout
        score = mlp(4 * dim, config.attention_hidden, 1, activation=activation, dropout=dropout)
        first, rest = score[0], score[1:]
        assert isinstance(first, nn.Linear)
        assert isinstance(rest, nn.Sequential)
        self.first, self.rest = first, rest

    def forward(self, target: torch.Tensor, history: torch.Tensor, histories: Histories) -> torch.Tensor:
        """(B, d), zeros for a row without history.

        Args:
            target: (B, d).
            history: (V, d).
        """
        weights = histories.softmax(self._scores(target, history, histories))
        return histories.weighted_sum(weights, history)

    def _scores(self, target: torch.Tensor, history: torch.Tensor, histories: Histories) -> torch.Tensor:
        """(V,)

        The first layer on [t', z, t' − z, t' ⊙ z] is (W_t + W_d)·t' + (W_z − W_d)·z + W_m·(t' ⊙ z) + b, and t' a row's
        part plus a place's part: so what depends on the row alone, or on the place alone, is multiplied once for each
        and not once for each element.
        """
        of_target, of_history, of_difference, of_product = self.first.weight.chunk(4, dim=1)
        on_target, on_read = of_target + of_difference, torch.cat([of_history - of_difference, of_product], dim=1)
        rows, places = self._projected(target)
        place = histories.position.clamp(max=len(places) - 1)
        of_row = rows, products.linear(rows, on_target, self.first.bias)
        of_place = places, products.linear(places, on_target)
        if not isinstance(self.rest[0], Dice):
            layers, masks = self._later_layers(history.device)
            return scores(history, histories.row, place, of_row, of_place, on_read, layers, masks)
        expanded, first = (
            functional.embedding(histories.row, row) + functional.embedding(place, at)
            for row, at in zip(of_row, of_place, strict=True)
        )
        read = torch.cat([history, expanded * history], dim=1)
        of_batch: torch.Tensor = self.rest(first + products.linear(read, on_read))  # a unit's moments need all rows
        return of_batch.squeeze(1)

    def _later_layers(self, device: torch.device) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[StepMasks]]:
        """Weights and biases, where a dropout's division is one of the weights that follow it; and its masks."""
        linears = [layer for layer in self.rest if isinstance(layer, nn.Linear)]
        dropouts = [layer for layer in self.rest if isinstance(layer, Dropout) and self.training]
        kept = 1 - dropouts[0].rate if dropouts else 1.0
        masks = [layer.next_step(device) for layer in dropouts]
        return [(layer.weight / kept, layer.bias) for layer in linears], masks

    def _projected(self, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The parts of t' by row, (B, d), and by place, (max_length, d); (1, d) without positions."""
        if self.project is None or self.positions is None:
            return target, target.new_zeros(1, self.dim)
        on_target, on_position = self.project.weight.tensor_split([self.dim], dim=1)
        return products.linear(target, on_target), products.linear(self.positions, on_position, self.project.bias)


class Interest(nn.Module):
    """One head's interest: the target's attention to z = FFN(s) + s, s = LN(dropout(W_o·head) + history)."""

    def __init__(self, dim: int, head_dim: int, attention: TargetAttention, dropout: float) -> None:
        super().__init__()
        self.out = linear(head_dim, dim, bias=False)
        self.dropout: nn.Module = Dropout(dropout, 0) if dropout else nn.Identity()
        self.feed_forward = FeedForward(dim)
        self.attention = attention

    def dropout_of_step(self, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
        """What drops the next step's values, block after block."""
        if isinstance(self.dropout, Dropout) and self.training:
            return self.dropout.next_step(device).drop
        return nn.Identity()


class InterestExtractor(nn.Module):
    """H interests side by side, (B, H·d): causal self-attention without biases, then an `Interest` per head."""

    def __init__(self, dim: int, config: DminModel) -> None:
        super().__init__()
        self.joint = linear(dim, 3 * dim, bias=False)
        self.interests = nn.ModuleList(
            Interest(dim, dim // config.heads, TargetAttention(dim, config), config.head_dropout)
            for _ in range(config.heads)
        )

    def forward(self, target: torch.Tensor, history: torch.Tensor, histories: Histories) -> torch.Tensor:
        """
        Args:
            target: (B, d).
            history: (V, d).
        """
        interests = [interest for interest in self.interests if isinstance(interest, Interest)]
        drops = [interest.dropout_of_step(history.device) for interest in interests]

        def of_heads(block: torch.Tensor) -> list[torch.Tensor]:
            heads = causal_attention(self.joint(block), len(interests)).chunk(len(interests), dim=2)
            parts = zip(interests, heads, drops, strict=True)
            return [interest.feed_forward(drop(interest.out(head)) + block) for interest, head, drop in parts]

        elements = zip(interests, histories.in_blocks(of_heads, history), strict=True)
        return torch.cat([interest.attention(target, z, histories) for interest, z in elements], dim=1)
