"""torch-rechub's side of benchmarks/train.py: its trainer over its data set of rows, as its documentation uses them.

Runs in the interpreter that has torch-rechub; nothing of exfm_ray is imported.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models.ranking import DCN, DCNv2, DeepFM
from torch_rechub.trainers import CTRTrainer
from torch_rechub.utils.data import TorchDataset
from train_answers import answer

LEARNING_RATE = 1e-3


class Trainer:
    """A model of the library; settings as FuxiCTR's side takes them."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.model = build(settings)
        # without these it would add an L2 of 1e-5
        optimizer = {"lr": LEARNING_RATE, "weight_decay": 0.0}
        regularization = {"embedding_l2": settings["regularizer"] or 0.0}
        self.trainer = CTRTrainer(self.model, optimizer_params=optimizer, regularization_params=regularization)

    def train(self, day: int) -> int:
        """One epoch of one day, from its file; its rows."""
        arrays = dict(np.load(Path(self.settings["place"]) / f"day{day}.npz"))
        rows = TorchDataset(arrays, arrays.pop(self.settings["label"]))
        self.trainer.train_one_epoch(DataLoader(rows, batch_size=self.settings["batch_rows"]))
        return len(rows)


def build(settings: Mapping[str, Any]) -> torch.nn.Module:
    """The library's model of the sizes of a model section of our recipe.

    Its price has no vector, its MLP always has batch normalization, and its first order is a linear layer on the
    vectors.
    """
    config, rows = settings["model"], {feature["name"]: feature["rows"] for feature in settings["features"]}
    dim = config["embedding_dim"]
    dense, others = [], []
    for feature in settings["features"]:
        name, shared = feature["name"], feature["shares"]
        match feature["kind"]:
            case "categorical":
                others.append(SparseFeature(name, rows[name], dim))
            case "sequence":
                others.append(SequenceFeature(name, rows[shared], dim, "mean", shared_with=shared, padding_idx=0))
            case "numeric":
                dense.append(DenseFeature(name))
    mlp = {"dims": list(config["hidden"]), "dropout": config["dropout"], "activation": "relu"}
    match config["type"]:
        case "deepfam":
            return DeepFM(others + dense, others, mlp)
        case "dcn":
            return DCN(others + dense, config["cross_layers"], mlp)
    assert config["type"] == "dcnv2"
    return DCNv2(others + dense, config["cross_layers"], mlp, use_low_rank_mixture=False)


def main(settings: str) -> None:
    torch.set_num_threads(1)
    trainer = Trainer(json.loads(settings))
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    tasks = {"warm": lambda: trainer.train(1), "round": lambda: trainer.train(2)}
    answer(parameters, ["torch-rechub"], tasks)


if __name__ == "__main__":
    main(*sys.argv[1:])
