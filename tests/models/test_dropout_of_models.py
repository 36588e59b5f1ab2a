"""Dropout in whole models: one position per layer, masks apart from each other, nothing of it in predicting."""

import pytest
import torch

from exfm_ray.config import DcnModel, DcnV2Model, DeepFamModel, DminModel, InterestGroup, ModelConfig
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.dropout import Dropout
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.model import Model
from exfm_ray.schema import Schema
from tests.models.test_models import inputs

RATES = {"attention_dropout": 0.3, "head_dropout": 0.3, "dropout": 0.3}
DMIN = DminModel(
    embedding_dim=4,
    groups=(InterestGroup(targets=("item",), sequences=("history",)),),
    heads=2,
    attention_hidden=(8, 8),
    hidden=(8, 8),
)


def built(config: ModelConfig, schema: Schema, seed: int = 0) -> Model:
    return seeded(lambda: build_model(config, schema, 1), seed, "model")


def dropouts(model: Model) -> dict[str, Dropout]:
    return {name: module for name, module in model.named_modules() if isinstance(module, Dropout)}


def dropping(**rates: float) -> DminModel:
    return DminModel.model_validate(DMIN.model_dump() | (rates or RATES))


def test_each_layer_of_dmin_has_a_mask_of_its_own(small_schema: Schema) -> None:
    layers = dropouts(built(dropping(), small_schema))
    assert len(layers) == 2 * (1 + 2) + 2  # per head: its projection and two layers of attention; the MLP on top
    ones = torch.ones(40, 40)
    masks = [layer(ones) for layer in layers.values()]
    assert not any(torch.equal(masks[i], masks[j]) for i in range(len(masks)) for j in range(i))
    assert sorted(layer.position for layer in layers.values()) == list(range(len(layers)))


@pytest.mark.parametrize(
    "config",
    [
        DeepFamModel(embedding_dim=4, hidden=(8, 8, 4), dropout=0.3),
        DcnModel(embedding_dim=4, hidden=(8, 8, 4), dropout=0.3, tower_hidden=(4,)),
        DcnV2Model(embedding_dim=4, hidden=(8, 8, 4), dropout=0.3),
    ],
    ids=lambda config: config.type,
)
def test_layers_of_one_mlp_are_numbered_as_the_mlp_does(config: ModelConfig, small_schema: Schema) -> None:
    layers = dropouts(built(config, small_schema))
    assert [layer.position for layer in layers.values()] == [0, 1, 2]
    assert [name.rpartition(".")[0] for name in layers] == ["deep"] * 3


@pytest.mark.parametrize("field", sorted(RATES))
def test_each_rate_of_dmin_is_of_its_layers(field: str, small_schema: Schema) -> None:
    plain, model = built(DMIN, small_schema), built(dropping(**{field: 0.4}), small_schema)
    part = {"attention_dropout": ".attention.rest.", "head_dropout": ".drop", "dropout": "deep."}[field]
    layers = dropouts(model)
    assert layers
    assert all(part in name and layer.rate == 0.4 for name, layer in layers.items())
    assert not dropouts(plain)
    scaled(plain), scaled(model)
    assert not torch.equal(model(inputs()), plain(inputs()))


def test_predicting_ignores_dropout(small_schema: Schema) -> None:
    plain, model = (scaled(built(config, small_schema)).eval() for config in (DMIN, dropping()))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert torch.equal(model(inputs()), plain(inputs()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def scaled(model: Model) -> Model:
    """With tables far from zero, so that every layer has a say in the logits."""
    with torch.no_grad():
        for table in model.table_parameters():
            table.mul_(10_000)
    return model


def test_a_head_is_dropped_before_its_history_is_added(small_schema: Schema) -> None:
    """All but all of a head dropped leaves the history: the interest is then that of a projection that is zero."""
    rate = 1 - 1e-9
    dropped = scaled(built(dropping(head_dropout=rate), small_schema))
    zeroed = scaled(built(DMIN, small_schema))
    with torch.no_grad():
        for interest in zeroed.groups[0].extractor.interests:
            interest.out.weight.zero_()
    batch: Inputs = inputs()
    assert torch.equal(dropped(batch), zeroed(batch))
