"""Small foundation models, and rows for them."""

import numpy as np
import pyarrow as pa
import torch

from exfm_ray.config import DcnV2Model
from exfm_ray.das.predictor import Predictor
from exfm_ray.models.build import build_model, seeded
from exfm_ray.schema import Schema

CONFIG = DcnV2Model(embedding_dim=3, cross_layers=1, hidden=(4,))


def predictor(schema: Schema, day: int) -> Predictor:
    """One that answers unlike that of any other day."""
    model = seeded(lambda: build_model(CONFIG, schema, len(schema.tasks)), day, "fm")
    return Predictor(day, f"fm/day={day:03d}", schema, schema.tasks, model, torch.device("cpu"))


def rows(count: int, seed: int = 0) -> pa.Table:
    """For conftest's small schema; histories have from none to four elements."""
    generator = np.random.default_rng(seed)
    columns = {name: generator.integers(0, 24, count) for name in ("user", "item", "hour")}
    columns |= {name: generator.random(count).astype(np.float32) for name in ("price", "costly")}
    histories = [list(generator.integers(0, 24, generator.integers(0, 5))) for _ in range(count)]
    return pa.table({**columns, "history": pa.array(histories, pa.list_(pa.int64()))})
