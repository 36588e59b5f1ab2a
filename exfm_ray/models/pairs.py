"""Pairs of fields."""

import torch


class FieldPairs(torch.nn.Module):
    """The two members of every pair i < j of F fields: (B, F, D) → (B, P, D) twice, P = F(F − 1)/2."""

    first: torch.Tensor
    second: torch.Tensor

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.fields = fields
        self.count = fields * (fields - 1) // 2
        first, second = torch.triu_indices(fields, fields, offset=1, device="cpu")  # as in Embedding
        self.register_buffer("first", first.clone(), persistent=False)  # an exported program stores each as a whole
        self.register_buffer("second", second.clone(), persistent=False)

    def forward(self, fields: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return fields.index_select(1, self.first), fields.index_select(1, self.second)
