"""The student adapter (ExFM section 3.4, Eq. 6)."""

import torch
from torch import nn

from exfm_ray.config import AdapterConfig
from exfm_ray.models.mlp import mlp

SMALLEST_PROBABILITY = 1e-6


class StudentAdapter(nn.Module):
    """ŷ^SA = l + MLP(l), l the logit of ŷ^F. The MLP's last layer starts at zero, the adapter thus as the identity."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.hidden = mlp(1, config.hidden)
        self.correction = nn.Linear(config.hidden[-1], 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, fm_prob: torch.Tensor) -> torch.Tensor:
        """Adapted logit (B,) of the pseudo-label fm_prob, (B,) in [0, 1]."""
        logit = torch.logit(fm_prob, eps=SMALLEST_PROBABILITY).unsqueeze(1)
        adapted: torch.Tensor = logit + self.correction(self.hidden(logit))
        return adapted.squeeze(1)
