"""From a model's section of the recipe to the model."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from exfm_ray.config import MULTI_TASK_TYPES, DcnV2Model, DeepFamModel, DminModel, FamModel
from exfm_ray.models.dcnv2 import DcnV2
from exfm_ray.models.deepfam import DeepFam
from exfm_ray.models.dmin import Dmin
from exfm_ray.models.fam import Fam
from exfm_ray.models.model import Model
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


def build_model(config: FamModel | DeepFamModel | DcnV2Model | DminModel, schema: Schema, tasks: int) -> Model:
    """The architecture of a recipe, for the schema's features.

    Raises:
        ValueError: more tasks than the architecture can predict, or features that the schema lacks.
    """
    if isinstance(config, DcnV2Model):
        return DcnV2(config, schema, tasks)
    if isinstance(config, DminModel):
        return Dmin(config, schema, tasks)
    if tasks != 1:
        raise ValueError(
            f"model {config.type} predicts one task but got {tasks}; types with several: {MULTI_TASK_TYPES}"
        )
    return Fam(config, schema) if isinstance(config, FamModel) else DeepFam(config, schema)
