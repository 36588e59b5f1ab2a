"""Architectures against plain loops over fields in float64, forward and gradient."""

from collections.abc import Callable

import pytest
import torch

from exfm_ray.config import DcnV2Model, DeepFamModel, FamModel
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.model import Model
from exfm_ray.schema import Schema

CONFIGS = [
    FamModel(embedding_dim=3),
    DeepFamModel(embedding_dim=3, hidden=(5, 4)),
    DcnV2Model(embedding_dim=3, cross_layers=2, hidden=(5,)),
]


def inputs() -> Inputs:
    """Three rows of `small_schema`; the second has no history."""
    return Inputs(
        categorical=torch.tensor([[1, 2, 3], [49, 29, 23], [0, 2, 3]]),
        numeric=torch.tensor([[0.5, 1.0], [-1.0, 2.0], [2.0, -0.5]]),
        sequences=(SequenceInput(torch.tensor([4, 5, 4, 2]), torch.tensor([0, 3, 3, 4])),),
    )


def wide(model: Model) -> Model:
    """In float64, with values far from zero, so that every term counts."""
    model.double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
    return model


def double(batch: Inputs) -> Inputs:
    return Inputs(batch.categorical, batch.numeric.double(), batch.sequences)


def reference_fields(embedding: Embedding, batch: Inputs, row: int, *, own_sequence_table: bool) -> list[torch.Tensor]:
    """One vector per field of one row, read field by field."""
    table, starts = embedding.table, [0, 50, 80]
    fields = [table[starts[i] + int(batch.categorical[row, i])] for i in range(3)]
    fields += [batch.numeric[row, i] * embedding.numeric[i] for i in range(batch.numeric.shape[1])]
    history = batch.sequences[0].rows(row, row + 1).values
    start = 104 if own_sequence_table else 50
    vectors = [table[start + int(value)] for value in history]
    if not vectors:
        fields.append(torch.zeros(table.shape[1], dtype=table.dtype))
    else:
        total = torch.stack(vectors).sum(0)
        fields.append(total if own_sequence_table else total / len(vectors))
    return fields


def reference_mlp(layers: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    for layer in layers.children():
        x = layer.weight @ x + layer.bias if isinstance(layer, torch.nn.Linear) else x.clamp(min=0)
    return x


def reference_fam(model: Model, batch: Inputs, row: int) -> torch.Tensor:
    fields = reference_fields(model.embedding, batch, row, own_sequence_table=False)
    logit = model.bias + sum(reference_fields(model.first_order, batch, row, own_sequence_table=True))
    for i in range(len(fields)):
        for j in range(i):
            logit = logit + (fields[i] * fields[j]).sum()
    return logit


def reference_deepfam(model: Model, batch: Inputs, row: int) -> torch.Tensor:
    fields = reference_fields(model.embedding, batch, row, own_sequence_table=False)
    hidden = reference_mlp(model.deep, torch.cat(fields))
    return reference_fam(model, batch, row) + model.deep_out.weight @ hidden + model.deep_out.bias


def reference_dcnv2(model: Model, batch: Inputs, row: int) -> torch.Tensor:
    start = torch.cat(reference_fields(model.embedding, batch, row, own_sequence_table=False))
    crossed = start
    for layer in model.cross:
        crossed = crossed + start * (layer.weight @ crossed + layer.bias)
    return model.out.weight @ torch.cat([crossed, reference_mlp(model.deep, start)]) + model.out.bias


@pytest.mark.parametrize(
    ("config", "reference"),
    list(zip(CONFIGS, [reference_fam, reference_deepfam, reference_dcnv2], strict=True)),
    ids=["fam", "deepfam", "dcnv2"],
)
def test_equals_plain_loops(
    config: FamModel | DeepFamModel | DcnV2Model,
    reference: Callable[[Model, Inputs, int], torch.Tensor],
    small_schema: Schema,
) -> None:
    model, batch = wide(build_model(config, small_schema, 1)), double(inputs())
    logits = model(batch)
    expected = torch.stack([reference(model, batch, row) for row in range(3)])
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    weights = torch.tensor([[1.0], [2.0], [-3.0]], dtype=torch.float64)
    ours = torch.autograd.grad((logits * weights).sum(), list(model.parameters()))
    theirs = torch.autograd.grad((expected * weights).sum(), list(model.parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.to_dense() if mine.is_sparse else mine, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_only_touched_rows_have_gradients(config: FamModel | DeepFamModel | DcnV2Model, small_schema: Schema) -> None:
    model = build_model(config, small_schema, 1)
    model(inputs()).sum().backward()
    for table in model.table_parameters():
        assert table.grad is not None
        assert table.grad.is_sparse
        assert table.grad.coalesce().indices().numel() < table.shape[0] / 4


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_width_is_that_of_the_backbone(config: FamModel | DeepFamModel | DcnV2Model, small_schema: Schema) -> None:
    model = build_model(config, small_schema, 1)
    assert model.backbone(inputs()).shape == (3, model.width)


def test_parameter_counts(small_schema: Schema) -> None:
    # tables: 50 + 30 + 24 rows of D, 2 numeric vectors; first order: the same with D = 1 and a table for the sequence
    first_order, embedding = 104 + 30 + 2, (104 + 2) * 3
    assert build_model(CONFIGS[0], small_schema, 1).parameter_count() == first_order + embedding + 1
    deep = 6 * 3 * 5 + 5 + 5 * 4 + 4 + 4 + 1
    assert build_model(CONFIGS[1], small_schema, 1).parameter_count() == first_order + embedding + 1 + deep
    cross, out = 2 * (18 * 18 + 18), (18 + 5) * 2 + 2
    assert build_model(CONFIGS[2], small_schema, 2).parameter_count() == embedding + cross + 18 * 5 + 5 + out


def test_a_factorization_machine_predicts_one_task(small_schema: Schema) -> None:
    with pytest.raises(ValueError, match="predicts one task but got 2"):
        build_model(FamModel(), small_schema, 2)


def test_the_start_depends_on_seed_and_names_alone(small_schema: Schema) -> None:
    def built(seed: int, name: str) -> torch.Tensor:
        torch.rand(3)  # the global generator moves on; nothing may depend on it
        return seeded(lambda: build_model(CONFIGS[2], small_schema, 1), seed, name).out.weight

    assert torch.equal(built(0, "a"), built(0, "a"))
    assert not torch.equal(built(0, "a"), built(1, "a"))
    assert not torch.equal(built(0, "a"), built(0, "b"))


def test_rows_of_a_batch_are_those_rows() -> None:
    part = inputs().rows(1, 3)
    assert part.categorical.tolist() == [[49, 29, 23], [0, 2, 3]]
    assert part.sequences[0].values.tolist() == [2]
    assert part.sequences[0].offsets.tolist() == [0, 0, 1]
