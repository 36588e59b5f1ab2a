"""FLOPs against what can be counted by hand."""

import pytest

from exfm_ray.config import DcnV2Model, DeepFamModel, FamModel
from exfm_ray.models.flops import training_flops
from exfm_ray.schema import Schema


def test_an_mlp_costs_six_operations_per_weight(small_schema: Schema) -> None:
    """Two per multiply-add, for the output, the gradient of the input and that of the weights."""
    schema = small_schema.for_vm()
    deep = DeepFamModel(embedding_dim=16, hidden=(128, 64))
    more = training_flops(deep, schema, 1, 5) - training_flops(FamModel(embedding_dim=16), schema, 1, 5)
    weights = 5 * 16 * 128 + 128 * 64 + 64
    assert more == pytest.approx(6 * weights, rel=0.03)
    assert more > 6 * weights  # activations, biases and sums beside the products


def test_a_cross_layer_costs_six_operations_per_weight(small_schema: Schema) -> None:
    schema, width = small_schema.for_vm(), 5 * 16
    one, two = (DcnV2Model(embedding_dim=16, cross_layers=layers) for layers in (1, 2))
    more = training_flops(two, schema, 1, 5) - training_flops(one, schema, 1, 5)
    assert more == pytest.approx(6 * width**2, rel=0.03)
    assert more > 6 * width**2


def test_table_sizes_cost_no_operations(small_schema: Schema) -> None:
    features = tuple(f.model_copy(update={"rows": f.rows * 1_000_000}) for f in small_schema.features)
    huge = small_schema.model_copy(update={"features": features})
    model = DcnV2Model(embedding_dim=4)
    assert training_flops(model, huge, 2, 5) == training_flops(model, small_schema, 2, 5)


def test_longer_histories_cost_more(small_schema: Schema) -> None:
    model = FamModel(embedding_dim=4)
    assert training_flops(model, small_schema, 1, 50) > training_flops(model, small_schema, 1, 0)
