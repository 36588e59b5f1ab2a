"""From a model's section of the recipe to the model."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from exfm_ray.config import (
    MULTI_TASK_TYPES,
    DcnModel,
    DcnV2Model,
    DeepFamModel,
    DlrmModel,
    DminModel,
    FamModel,
    FmFamModel,
    ModelConfig,
    TwoTowerModel,
    WukongModel,
)
from exfm_ray.models.dcn import Dcn
from exfm_ray.models.dcnv2 import DcnV2
from exfm_ray.models.deepfam import DeepFam
from exfm_ray.models.dlrm import Dlrm
from exfm_ray.models.dmin import Dmin
from exfm_ray.models.dropout import Dropout
from exfm_ray.models.fam import Fam
from exfm_ray.models.fmfam import FmFam
from exfm_ray.models.model import Model
from exfm_ray.models.two_tower import TwoTower
from exfm_ray.models.wukong import Wukong
from exfm_ray.schema import Schema

Module = TypeVar("Module", bound=nn.Module)


def seeded(build: Callable[[], Module], seed: int, *names: str) -> Module:
    """Build a module whose initial values depend on the seed and the names alone.

    Every part of a model has names of its own, so adding a part changes no other part's start.
    """
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        return build()


@lru_cache(maxsize=256)
def parameters_of(config: ModelConfig, schema: Schema, tasks: int) -> int:
    """How many parameters `build_model`'s model has. Nothing is allocated, and models of many VMs are often the same.

    Raises:
        ValueError: as `build_model`.
    """
    with shapes_alone():
        return build_model(config, schema, tasks).parameter_count()


@contextmanager
def shapes_alone() -> Iterator[None]:
    """In this block what is built has shapes but no numbers, and takes no memory."""
    with torch.device("meta"), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Nothing is drawn. For numbers that are none, torch would import its compiler, a second of CPU time, to do so."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


def build_model(config: ModelConfig, schema: Schema, tasks: int) -> Model:
    """The architecture of a recipe, for the schema's features.

    Raises:
        ValueError: more tasks than the architecture can predict, or features that it cannot be built from.
    """
    if tasks != 1 and config.type not in MULTI_TASK_TYPES:
        raise ValueError(
            f"model {config.type} predicts one task but got {tasks}; types with several: {MULTI_TASK_TYPES}"
        )
    model = _architecture(config, schema, tasks)
    _number_dropouts(model)
    return model


def _architecture(config: ModelConfig, schema: Schema, tasks: int) -> Model:
    match config:
        case FamModel():
            return Fam(config, schema)
        case FmFamModel():
            return FmFam(config, schema)
        case DeepFamModel():
            return DeepFam(config, schema)
        case DcnModel():
            return Dcn(config, schema, tasks)
        case DcnV2Model():
            return DcnV2(config, schema, tasks)
        case DminModel():
            return Dmin(config, schema, tasks)
        case DlrmModel():
            return Dlrm(config, schema, tasks)
        case TwoTowerModel():
            return TwoTower(config, schema)
        case WukongModel():
            return Wukong(config, schema, tasks)


def _number_dropouts(model: Model) -> None:
    """Give each dropout layer a place of its own among the model's, so that no two draw the same masks."""
    for position, layer in enumerate(module for module in model.modules() if isinstance(module, Dropout)):
        layer.position = position
