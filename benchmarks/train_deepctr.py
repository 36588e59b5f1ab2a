"""deepctr-torch's side of benchmarks/train.py: `fit` of its models on arrays, as its documentation uses them.

Runs in the interpreter that has deepctr-torch; nothing of exfm_ray is imported.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat
from deepctr_torch.models import DCN, DeepFM
from deepctr_torch.models.basemodel import BaseModel
from train_answers import answer


class Trainer:
    """A model of the library; settings as FuxiCTR's side takes them."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.model = build(settings)
        self.model.compile("adam", "binary_crossentropy")  # Adam's rate is 1e-3

    def train(self, day: int) -> int:
        """One epoch of one day, from its file; its rows."""
        arrays = dict(np.load(Path(self.settings["place"]) / f"day{day}.npz"))
        label = arrays.pop(self.settings["label"])
        self.model.fit(arrays, label, batch_size=self.settings["batch_rows"], epochs=1, verbose=0, shuffle=False)
        return len(label)


def build(settings: Mapping[str, Any]) -> BaseModel:
    """The library's model of the sizes of a model section of our recipe.

    Its price has no vector: a numeric feature enters the MLP as a number. Its cross networks go without the linear
    part that it would add to them.
    """
    config = settings["model"]
    columns = list(map(_column(settings), settings["features"]))
    common = {
        "dnn_hidden_units": config["hidden"],
        "dnn_dropout": config["dropout"],
        "l2_reg_embedding": settings["regularizer"] or 0,
        "l2_reg_linear": 0,
    }
    if config["type"] == "deepfam":
        return DeepFM(columns, columns, **common)
    cross = {"dcn": "vector", "dcnv2": "matrix"}[config["type"]]
    return DCN([], columns, cross_num=config["cross_layers"], cross_parameterization=cross, l2_reg_cross=0, **common)


def _column(settings: Mapping[str, Any]) -> Any:
    rows = {feature["name"]: feature["rows"] for feature in settings["features"]}
    dim = settings["model"]["embedding_dim"]

    def column(feature: Mapping[str, Any]) -> Any:
        name, shared = feature["name"], feature["shares"]
        match feature["kind"]:
            case "categorical":
                return SparseFeat(name, rows[name], dim)
            case "sequence":
                own = SparseFeat(name, rows[shared], dim, embedding_name=shared)
                return VarLenSparseFeat(own, settings["history_length"], "mean")
        return DenseFeat(name, 1)

    return column


def main(settings: str) -> None:
    torch.set_num_threads(1)
    trainer = Trainer(json.loads(settings))
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    tasks = {"warm": lambda: trainer.train(1), "round": lambda: trainer.train(2)}
    answer(parameters, ["deepctr-torch"], tasks)


if __name__ == "__main__":
    main(*sys.argv[1:])
