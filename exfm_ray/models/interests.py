"""Several interests of a user in a target, read off the user's history (Xiao 2020)."""

import torch
from torch import nn
from torch.nn import functional

from exfm_ray.config import DminModel
from exfm_ray.models.dropout import Dropout
from exfm_ray.models.histories import Histories
from exfm_ray.models.mlp import linear, mlp


class FeedForward(nn.Module):
    """FFN(s) + s on s = LN(x): (V, d) → (V, d), FFN d → 2d → ReLU → d."""

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
        attended = self.out(histories.causal_attention(self.joint(history), self.heads))
        refined: torch.Tensor = self.feed_forward(attended + history)
        return refined


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
        assert isinstance(score[0], nn.Linear)
        self.first, self.rest = score[0], score[1:]

    def forward(self, target: torch.Tensor, history: torch.Tensor, histories: Histories) -> torch.Tensor:
        """(B, d), zeros for a row without history.

        Args:
            target: (B, d).
            history: (V, d).
        """
        scores = self.rest(self._first_layer(target, history, histories)).squeeze(1)
        return histories.weighted_sum(histories.softmax(scores), history)

    def _first_layer(self, target: torch.Tensor, history: torch.Tensor, histories: Histories) -> torch.Tensor:
        """The first linear layer on [t', z, t' − z, t' ⊙ z]: (V, hidden[0]).

        It is (W_t + W_d)·t' + (W_z − W_d)·z + W_m·(t' ⊙ z) + b, and t' a row's part plus a position's part: so what
        depends on the row alone, or on the position alone, is multiplied once for each and not once for each element.
        """
        of_target, of_history, of_difference, of_product = self.first.weight.chunk(4, dim=1)
        on_target = of_target + of_difference
        rows, positions = self._projected(target)
        expanded = functional.embedding(histories.row, rows)
        scores = functional.embedding(histories.row, functional.linear(rows, on_target, self.first.bias))
        if positions is not None:
            place = histories.position.clamp(max=len(positions) - 1)
            expanded = expanded + functional.embedding(place, positions)
            scores = scores + functional.embedding(place, functional.linear(positions, on_target))
        read = torch.cat([history, expanded * history], dim=1)
        return scores + functional.linear(read, torch.cat([of_history - of_difference, of_product], dim=1))

    def _projected(self, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The parts of t' by row, (B, d), and by position, (max_length, d)."""
        if self.project is None or self.positions is None:
            return target, None
        on_target, on_position = self.project.weight.tensor_split([self.dim], dim=1)
        return functional.linear(target, on_target), functional.linear(self.positions, on_position, self.project.bias)


class Interest(nn.Module):
    """One head's interest: the target's attention to z = FFN(s) + s, s = LN(dropout(W_o·head) + history)."""

    def __init__(self, dim: int, head_dim: int, attention: TargetAttention, dropout: float) -> None:
        super().__init__()
        self.out = linear(head_dim, dim, bias=False)
        self.dropout: nn.Module = Dropout(dropout, 0) if dropout else nn.Identity()
        self.feed_forward = FeedForward(dim)
        self.attention = attention

    def forward(
        self, head: torch.Tensor, target: torch.Tensor, history: torch.Tensor, histories: Histories
    ) -> torch.Tensor:
        """(B, d) from a head's (V, d/H), the target (B, d) and its history (V, d)."""
        interest: torch.Tensor = self.attention(
            target, self.feed_forward(self.dropout(self.out(head)) + history), histories
        )
        return interest


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
        heads = histories.causal_attention(self.joint(history), len(self.interests)).chunk(len(self.interests), dim=1)
        interests = zip(self.interests, heads, strict=True)
        return torch.cat([interest(head, target, history, histories) for interest, head in interests], dim=1)
