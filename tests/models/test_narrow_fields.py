"""Fields of few values read as values: the same function, with the same gradients, as of their vectors."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from exfm_ray.config import DcnModel, DcnV2Model, DeepFamModel, ModelConfig, Precision
from exfm_ray.models import narrow_fields, pieces
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.lookup import Lookup
from exfm_ray.models.model import Model
from exfm_ray.models.narrow_fields import AS_THEY_ARE, FewColumns, FieldWidths
from exfm_ray.models.precision import computed_in
from exfm_ray.models.products import by_torch
from exfm_ray.schema import Feature, Schema

DIM = 6
ROWS = {"age": 4, "user": 40, "item": 30, "hour": 5, "gender": 2, "tab": DIM}
"""of which age, hour and gender are narrow"""
MODELS: list[ModelConfig] = [
    DcnV2Model(embedding_dim=DIM, cross_layers=3, hidden=(8, 4)),
    DcnV2Model(embedding_dim=DIM, cross_layers=1, hidden=(8,)),
    DcnModel(embedding_dim=DIM, cross_layers=2, hidden=(8, 4)),
    DeepFamModel(embedding_dim=DIM, hidden=(8, 4)),
]
CPU = torch.device("cpu")


def schema_of(rows: dict[str, int] = ROWS, numeric: int = 2) -> Schema:
    features = [Feature(name=name, kind="categorical", rows=count, encoding="identity") for name, count in rows.items()]
    features += [Feature(name=f"number {index}", kind="numeric") for index in range(numeric)]
    features += [Feature(name="seen", kind="sequence", shares="user" if "user" in rows else next(iter(rows)))]
    return Schema(features=tuple(features), tasks=("click",), domains=("a",), stages=("later",))


def inputs_of(schema: Schema, count: int, kind: torch.dtype = torch.float64) -> Inputs:
    generator = np.random.default_rng(count)
    features = schema.of_kind("categorical")
    lengths = generator.integers(0, 3, count)
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    values = torch.from_numpy(generator.integers(0, 2, int(offsets[-1])))
    return Inputs(
        torch.from_numpy(np.stack([generator.integers(0, f.rows, count) for f in features], axis=1)),
        torch.from_numpy(generator.normal(size=(count, len(schema.of_kind("numeric"))))).to(kind),
        (SequenceInput(values, offsets),),
    )


def model_of(config: ModelConfig, schema: Schema) -> Model:
    model = seeded(lambda: build_model(config, schema, 1), 0, "model")
    for table in model.table_parameters():
        table.data.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    return model


@contextmanager
def reading(least_saved: float) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrow_fields, "LEAST_SAVED", least_saved)
        yield


def learned(
    model: Model, inputs: Inputs, precision: Precision = "float32"
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, and the gradients of their weighted sum."""
    model.zero_grad()
    with computed_in(precision, CPU):
        logits = model(inputs).to(inputs.numeric.dtype)
    (logits * torch.linspace(-1, 2, len(inputs), dtype=logits.dtype).unsqueeze(1)).sum().backward()
    return logits.detach(), {name: of.grad.clone() for name, of in model.named_parameters() if of.grad is not None}


@pytest.mark.parametrize("numeric", [0, 2])
@pytest.mark.parametrize("rows", [1, 3, 50])
@pytest.mark.parametrize("config", MODELS, ids=lambda config: f"{config.type}")
def test_answers_and_gradients_are_those_of_vectors(
    config: ModelConfig, rows: int, numeric: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "CPU_PIECE", 16)
    schema = schema_of(numeric=numeric)
    model, inputs = model_of(config, schema).double(), inputs_of(schema, rows)
    with reading(float("inf")):
        expected, wanted = learned(model, inputs)
    with reading(1):
        _, columns = model.embedding.start(inputs, 1)  # type: ignore[operator, union-attr]
        assert isinstance(columns, FewColumns)
        found, gradients = learned(model, inputs)
        with torch.no_grad():
            torch.testing.assert_close(model(inputs), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert gradients.keys() == wanted.keys()
    for name, gradient in gradients.items():
        if gradient.is_sparse:
            assert torch.equal(gradient._indices(), wanted[name]._indices())
            gradient, wanted[name] = gradient._values(), wanted[name]._values()
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-9, atol=1e-12, msg=name)


def test_rows_of_a_narrow_feature_that_a_batch_lacks_get_no_gradient() -> None:
    schema = schema_of()
    model, inputs = model_of(MODELS[0], schema).double(), inputs_of(schema, 3)
    inputs.categorical[:, 3] = 4  # the last hour alone
    with reading(1):
        _, gradients = learned(model, inputs)
    gradient = gradients["embedding.table"]
    hours = sum(list(ROWS.values())[:3])
    of_hours = [row for row in gradient._indices()[0].tolist() if hours <= row < hours + ROWS["hour"]]
    assert of_hours == [hours + 4]
    embedding = model.embedding
    assert isinstance(embedding, Embedding)
    assert gradient._indices()[0].tolist() == Lookup.of(inputs, embedding.layout).rows.tolist()


def test_in_bfloat16_answers_and_gradients_are_as_near_as_those_of_vectors() -> None:
    schema = schema_of()
    model, inputs = model_of(MODELS[0], schema), inputs_of(schema, 300, torch.float32)
    with reading(float("inf")):
        expected, wanted = learned(model, inputs)
    with reading(1):
        found, gradients = learned(model, inputs, "bf16")
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.float32
        off = (gradient.to_dense() - wanted[name].to_dense()).norm() / wanted[name].to_dense().norm()
        assert off < 0.05, name


def test_columns_are_wide_fields_then_rows_then_numbers() -> None:
    widths = FieldWidths.of(schema_of(), DIM)
    assert (widths.narrow, widths.rows, list(widths.numbers)) == ((0, 3, 4), (4, 5, 2), [6, 7])
    assert widths.wide == [1, 2, 5, 8]
    assert widths.runs == [
        (slice(6, 18), slice(0, 12)),
        (slice(30, 36), slice(12, 18)),
        (slice(48, 54), slice(18, 24)),
    ]
    assert (widths.of_rows, widths.of_numbers, widths.columns) == (slice(24, 35), slice(35, 37), 37)
    inputs = inputs_of(schema_of(), 4)
    values = widths.values(inputs)
    assert values[:, 11:].equal(inputs.numeric)
    ones = inputs.categorical[:, [0, 3, 4]] + torch.tensor([0, 4, 9])
    assert values[:, :11].nonzero()[:, 1].view(4, 3).equal(ones)


@pytest.mark.parametrize(("rows", "numeric"), [({"user": 40}, 3), ({"age": 2, "gender": 3}, 0)])
def test_all_categorical_features_may_be_wide_or_narrow(rows: dict[str, int], numeric: int) -> None:
    schema = schema_of(rows, numeric)
    model, inputs = model_of(MODELS[0], schema).double(), inputs_of(schema, 9)
    with reading(float("inf")):
        expected, wanted = learned(model, inputs)
    with reading(1):
        found, gradients = learned(model, inputs)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient.to_dense(), wanted[name].to_dense(), rtol=1e-9, atol=1e-12, msg=name)


def test_where_little_is_saved_vectors_are_read_as_they_are() -> None:
    schema = schema_of()
    embedding, inputs = Embedding(schema, DIM).double(), inputs_of(schema, 50)
    saved = 9 * DIM - embedding.widths.columns
    assert saved == 17
    for outputs, least, expected in ((8, 50 * 8 * 17, True), (8, 50 * 8 * 17 + 1, False), (0, 1, False)):
        with reading(least):
            start, columns = embedding.start(inputs, outputs)
        assert isinstance(columns, FewColumns) == expected
        assert columns is AS_THEY_ARE or expected
        assert torch.equal(start, embedding(inputs).flatten(1))
    with reading(1), by_torch():
        assert embedding.start(inputs, 8)[1] is AS_THEY_ARE


def test_a_feature_that_outgrows_its_dimensions_is_narrow_no_more() -> None:
    small, large = schema_of({"user": 2, "age": 3}), schema_of({"user": 90, "age": 3})
    embedding, larger = Embedding(small, DIM), Embedding(large, DIM)
    assert embedding.widths.narrow == (0, 1)
    embedding.grow_to(larger, embedding.places_in(larger))
    assert embedding.widths == larger.widths
    assert embedding.widths.narrow == (1,)


def test_layers_that_are_computed_one_by_one_read_vectors() -> None:
    schema = schema_of()
    inputs = inputs_of(schema, 20)
    model = model_of(DeepFamModel(embedding_dim=DIM, hidden=(8, 4), batch_norm=True), schema).double()
    with reading(1):
        found, _ = learned(model, inputs)
    with reading(float("inf")):
        model = model_of(DeepFamModel(embedding_dim=DIM, hidden=(8, 4), batch_norm=True), schema).double()
        assert torch.equal(learned(model, inputs)[0], found)
