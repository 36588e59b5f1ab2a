"""FuxiCTR's side of benchmarks/train.py: its model zoo's classes, its loader and its loop, all of them unchanged.

Runs in the interpreter that has fuxictr, with the zoo in `FuxiCTR/model_zoo` beside it (`make bench-env` puts it
there: the package lacks most of it); nothing of exfm_ray is imported.
"""

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.models import BaseModel
from train_answers import Stages, answer

ZOO = Path(sys.prefix) / "FuxiCTR" / "model_zoo"
CLASSES = {
    "fam": "FM/src/FM.py",
    "fmfam": "FmFM/src/FmFM.py",
    "deepfam": "DeepFM/DeepFM_torch/src/DeepFM.py",
    "dcn": "DCN/DCN_torch/src/DCN.py",
    "dcnv2": "DCNv2/src/DCNv2.py",
    "dmin": "DMIN/src/DMIN.py",
}
LEARNING_RATE = 1e-3
LARGEST_GRADIENT_NORM = 10.0
"""as `fit` clips it where it is not told otherwise"""
PREDICTED_ROWS = 4_096
"""at once; with batches of 8,192 it is slower"""


class Trainer:
    """A model of the zoo.

    Args:
        settings: `place` of the files, `features`, `label`, `history_length`, `model` as our recipe says it,
            `batch_rows` and `regularizer`, an L2 weight or None.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.place, self.batch_rows = settings["place"], settings["batch_rows"]
        self.features = feature_map(settings)
        self.model = build(settings["model"], self.features, settings["regularizer"])
        # what `fit` sets before its loop; it would go on to evaluate, which is no part of training
        self.model._max_gradient_norm = LARGEST_GRADIENT_NORM
        self.model._total_steps = 0
        self.model._stop_training = False

    def train(self, day: int) -> int:
        """One epoch of one day, from its file; its rows."""
        loader = self._loader(day, self.batch_rows)
        self.model.train_epoch(loader)
        return int(loader.num_samples)

    def predict(self, day: int) -> int:
        return len(self.model.predict(self._loader(day, PREDICTED_ROWS)))

    def stages(self) -> dict[str, float]:
        """CPU seconds per step by stage: `train_step` of BaseModel, cut into pieces."""
        model, stages, steps = self.model, Stages(), 0
        model.train()
        for batch in self._loader(1, self.batch_rows):
            stages.end("read")
            model.optimizer.zero_grad()
            returned, label = model.forward(batch), model.get_labels(batch)
            loss = model.add_loss(returned, label)
            stages.end("forward")
            loss = loss + model.regularization_loss()
            stages.end("L2")
            loss.backward()
            stages.end("backward")
            torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT_NORM)
            stages.end("clip")
            model.optimizer.step()
            stages.end("optimizer")
            steps += 1
        return stages.per_step(steps)

    def _loader(self, day: int, rows: int) -> Any:
        """Its npz loader without a worker process, of its loaders the one that uses the fewest CPU seconds."""
        path = f"{self.place}/day{day}.npz"
        loader, _ = RankDataLoader(
            self.features, "train", train_data=path, batch_size=rows, shuffle=False, data_format="npz", num_workers=0
        )
        return loader


def feature_map(settings: Mapping[str, Any]) -> FeatureMap:
    """What its preprocessing would say of the features; DMIN reads histories whole, all others their average."""
    features = FeatureMap("taobao", settings["place"])
    rows = {feature["name"]: feature["rows"] for feature in settings["features"]}
    for feature in settings["features"]:
        kind, shared = feature["kind"], feature["shares"]
        spec: dict[str, Any] = {"source": "", "type": kind}
        if kind != "numeric":
            spec |= {"padding_idx": 0, "vocab_size": rows[shared or feature["name"]]}
        if kind == "sequence":
            spec |= {"max_len": settings["history_length"], "share_embedding": shared}
            if settings["model"]["type"] != "dmin":
                spec["feature_encoder"] = "layers.MaskedAveragePooling()"
        features.features[feature["name"]] = spec
    features.labels = [settings["label"]]
    features.num_fields = features.get_num_fields()
    features.default_emb_dim = settings["model"]["embedding_dim"]
    features.set_column_index()
    return features


def build(config: Mapping[str, Any], features: FeatureMap, regularizer: float | None) -> BaseModel:
    """The zoo's model of the sizes of a model section of our recipe."""
    path = CLASSES[config["type"]]
    spec = importlib.util.spec_from_file_location(Path(path).stem, ZOO / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arguments = {
        "embedding_dim": config["embedding_dim"],
        "learning_rate": LEARNING_RATE,
        "optimizer": "adam",
        "loss": "binary_crossentropy",
        "task": "binary_classification",
        "metrics": ["AUC"],
        "model_id": "benchmark",
        "model_root": "unused",
        "verbose": 0,
        "eval_steps": sys.maxsize,
    }
    return getattr(module, Path(path).stem)(features, **arguments, **_of_type(config, regularizer))


def _of_type(config: Mapping[str, Any], regularizer: float | None) -> dict[str, Any]:
    """The arguments that differ between the zoo's classes."""
    if config["type"] in ("fam", "fmfam"):
        interaction = {} if config["type"] == "fam" else {"field_interaction_type": config["interaction"]}
        return {"regularizer": regularizer, **interaction}
    common = {
        "embedding_regularizer": regularizer,
        "batch_norm": config["batch_norm"],
        "net_dropout": config["dropout"],
    }
    hidden = list(config["hidden"])
    match config["type"]:
        case "deepfam":
            return {**common, "hidden_units": hidden}
        case "dcn":
            return {**common, "dnn_hidden_units": hidden, "num_cross_layers": config["cross_layers"]}
        case "dcnv2":
            return {**common, "parallel_dnn_hidden_units": hidden, "num_cross_layers": config["cross_layers"]}
    assert config["type"] == "dmin"
    assert config["attention_activation"] == config["activation"] == "relu"
    return {
        **common,
        "dnn_hidden_units": hidden,
        "dnn_activations": "ReLU",
        "target_field": [tuple(group["targets"]) for group in config["groups"]],
        "sequence_field": [tuple(group["sequences"]) for group in config["groups"]],
        "neg_seq_field": None,
        "num_heads": config["heads"],
        "attention_hidden_units": list(config["attention_hidden"]),
        "attention_activation": "ReLU",
        "attention_dropout": config["attention_dropout"],
        "use_pos_emb": config["position_dim"] > 0,
        "pos_emb_dim": config["position_dim"],
        "use_behavior_refiner": config["refiner"],
    }


def main(settings: str) -> None:
    torch.set_num_threads(1)
    trainer = Trainer(json.loads(settings))
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    tasks = {
        "warm": lambda: trainer.train(1),
        "round": lambda: trainer.train(2),
        "warm predict": lambda: trainer.predict(1),
        "predict": lambda: trainer.predict(2),
        "stages": trainer.stages,
    }
    answer(parameters, ["fuxictr"], tasks)


if __name__ == "__main__":
    main(*sys.argv[1:])
