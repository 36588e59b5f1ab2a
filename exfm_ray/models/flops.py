"""Floating-point operations of training on one example, counted while a model runs."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from exfm_ray.config import ModelConfig
from exfm_ray.models.build import build_model
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.products import by_torch
from exfm_ray.schema import Feature, Schema

EXAMPLES = 64
"""run at once; what is counted is divided by it"""
_REDUCTIONS = (
    "aten::sum",
    "aten::mean",
    "aten::_softmax",
    "aten::native_layer_norm",
    "aten::native_layer_norm_backward",
)


class FlopCount(TorchDispatchMode):
    """Adds up what runs in its block: two operations per multiply-add of a matrix product, one per element of what is
    computed element by element, one per element that a reduction reads. Look-ups and copies cost none.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
        elif torch.Tag.pointwise in func.tags and isinstance(out, torch.Tensor) and out.is_floating_point():
            self.total += out.numel()
        elif func._schema.name in _REDUCTIONS:
            self.total += args[0].numel()
        elif func._schema.name == "aten::_embedding_bag":
            table, values = args[:2]
            self.total += values.numel() * table.shape[1]
        return out


def training_flops(config: ModelConfig, schema: Schema, tasks: int, history_length: int) -> int:
    """Operations of a forward and a backward pass per example, without the optimizer's.

    Tables are cut to a few rows: their size costs memory, not operations.

    Args:
        history_length: elements of each sequence, in every example.
    """
    small = schema.model_copy(update={"features": tuple(_small(feature) for feature in schema.features)})
    model = build_model(config, small, tasks).train()
    inputs = _inputs(small, history_length)
    with by_torch(), FlopCount() as count:
        model(inputs).sum().backward()
    return int(count.total) // EXAMPLES


def _small(feature: Feature) -> Feature:
    return feature.model_copy(update={"rows": min(feature.rows, 2)})


def _inputs(schema: Schema, history_length: int) -> Inputs:
    offsets = torch.arange(EXAMPLES + 1) * history_length
    values = torch.zeros(EXAMPLES * history_length, dtype=torch.int64)
    return Inputs(
        categorical=torch.zeros(EXAMPLES, len(schema.of_kind("categorical")), dtype=torch.int64),
        numeric=torch.ones(EXAMPLES, len(schema.of_kind("numeric"))),
        sequences=tuple(SequenceInput(values, offsets) for _ in schema.of_kind("sequence")),
    )
