"""torch.compile for the layers of a model that it makes faster: those that follow each other without a branch."""

import torch
from torch import nn

from exfm_ray.models.dropout import Dropout


def compile_layers(model: nn.Module) -> None:
    """Compile every MLP of the model at its first use, in place; names and state stay as they are.

    A CPU needs a C++ compiler for it. The masks of dropout layers are drawn as without it, so they are the same.
    """
    for module in model.modules():
        if isinstance(module, Dropout):
            module.forward = torch.compiler.disable(module.forward)  # type: ignore[method-assign, no-untyped-call]
        elif isinstance(module, nn.Sequential):
            module.compile()
