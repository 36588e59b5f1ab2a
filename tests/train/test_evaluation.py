"""Scoring a day, and what predicting leaves alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from exfm_ray.config import Recipe
from exfm_ray.das.predictor import Predictor
from exfm_ray.data.batches import Batch, day_batches
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.partitions import read_rows
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.schema import Feature, Schema
from exfm_ray.simulation import produce
from exfm_ray.train.evaluation import score
from exfm_ray.train.team import ALONE
from exfm_ray.train.variant import Variant
from tests.conftest import claimed, small_content


def test_a_score_against_literals() -> None:
    values = score(
        probability=np.array([0.5, 0.5]),
        label=np.array([1.0, 0.0]),
        base_rate=0.1,
        fm_prob=np.array([1.0, 0.0]),
        truth=np.array([0.5, 0.5]),
    )
    assert values["rows"] == 2
    assert values["positives"] == 1
    assert values["ne"] == pytest.approx(2.132217, abs=1e-6)
    assert values["ne_eval"] == pytest.approx(1.0)
    assert values["logloss"] == pytest.approx(0.693147, abs=1e-6)
    assert values["auc"] == 0.5
    assert values["calibration"] == 1.0
    assert values["ne_fm"] == pytest.approx(0.0, abs=1e-9)
    assert values["ne_oracle"] == values["ne"]
    assert values["excess"] == 0.0


def test_what_is_undefined_is_null() -> None:
    values = score(np.array([0.2]), np.array([0.0]), None, None, None)
    assert {name for name, value in values.items() if value is None} == {
        "ne", "ne_eval", "auc", "calibration", "calibration_fm", "ne_fm", "ne_oracle", "excess", "excess_shifted",
    }  # fmt: skip
    assert json.dumps(values, allow_nan=False)
    assert score(np.array([]), np.array([]), 0.1, None, None)["logloss"] is None


def test_predicting_is_without_dropout_and_changes_nothing(tmp_path: Path) -> None:
    deep = {"type": "dcnv2", "embedding_dim": 4, "cross_layers": 1, "hidden": [8], "dropout": 0.5, "batch_norm": True}
    content = small_content(vms=[{"name": "vm", "model": deep}], methods=["none"])
    content["fm"] = {"model": deep}
    recipe = Recipe.model_validate(content)
    experiment = claimed(recipe, tmp_path)
    produce(experiment, open_dataset(recipe.data), None)
    variant = Variant(experiment, recipe.variants()[0], torch.device("cpu"))
    batch = next(day_batches(experiment.vm_traffic(recipe.vms[0]), 4, 256))
    before = {name: tensor.clone() for name, tensor in variant.student.state_dict().items()}
    predicted = variant.predict(batch)
    assert np.array_equal(predicted, variant.predict(batch))
    np.testing.assert_allclose(predicted[:7], variant.predict(batch.rows(0, 7)), rtol=1e-5)  # no row counts on another
    assert all(torch.equal(tensor, before[name]) for name, tensor in variant.student.state_dict().items())
    variant.train(ALONE.part(batch))
    steps = {name: tensor for name, tensor in variant.student.state_dict().items() if name.endswith("_extra_state")}
    assert {int(tensor[1] - before[name][1]) for name, tensor in steps.items()} == {1}

    columns = [feature.name for feature in experiment.data_schema.features]
    (rows,) = read_rows(experiment.run.days.day(3), columns, 10**6)
    database = SnapshotDatabase(experiment.snapshots)
    loaded = Predictor.load(database, 2)
    training = replace(loaded, model=database.load(2)[0].train())
    assert training.predict(rows).equals(loaded.predict(rows))


def test_predicting_moves_no_running_moment(tmp_path: Path) -> None:
    """Else what is evaluated would enter the model before the model is trained on it."""
    content = small_content(methods=["none"])
    group = {"targets": ["item"], "sequences": ["history"]}
    content["vms"][0]["model"] = {"type": "dmin", "groups": [group], "activation": "dice", "batch_norm": True}
    schema = Schema(
        features=(
            Feature(name="item", kind="categorical", rows=9),
            Feature(name="history", kind="sequence", shares="item"),
        ),
        tasks=("click",),
        domains=("a", "b"),
        stages=("later",),
    )
    recipe = Recipe.model_validate(content)
    experiment = claimed(Recipe.model_validate(small_content()), tmp_path)
    experiment = experiment.model_copy(update={"recipe": recipe, "data_schema": schema})
    variant = Variant(experiment, recipe.variants()[0], torch.device("cpu"))
    inputs = Inputs(
        torch.tensor([[1], [2], [3]]),
        torch.zeros(3, 0),
        (SequenceInput(torch.tensor([4, 5, 6]), torch.tensor([0, 2, 2, 3])),),
    )
    batch = Batch(inputs=inputs, labels=torch.tensor([[0.0], [1.0], [0.0]]), fm_probs=None)
    start = {name: tensor.clone() for name, tensor in variant.student.state_dict().items()}
    variant.predict(batch)
    assert all(torch.equal(tensor, start[name]) for name, tensor in variant.student.state_dict().items())
    variant.train(ALONE.part(batch))
    moved = {name for name, tensor in variant.student.state_dict().items() if not torch.equal(tensor, start[name])}
    assert "model.norm.running_mean" in moved
