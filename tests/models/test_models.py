"""Architectures against plain loops over fields in float64, forward and gradient."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch

from exfm_ray.config import (
    MULTI_TASK_TYPES,
    DcnModel,
    DcnV2Model,
    DeepFamModel,
    DlrmModel,
    FamModel,
    FmFamModel,
    ModelConfig,
    TwoTowerModel,
    WukongModel,
)
from exfm_ray.data.dataset import open_dataset
from exfm_ray.models.batch_norm import BatchNorm
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.dropout import Dropout
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.flops import training_flops
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.model import Model
from exfm_ray.models.wukong import AttentionBlock, CrossBlock, FactorizationBlock, Mixing
from exfm_ray.recipe import read_recipe
from exfm_ray.schema import Feature, Schema

CONFIGS: list[ModelConfig] = [
    FamModel(embedding_dim=3),
    DeepFamModel(embedding_dim=3, hidden=(5, 4)),
    DcnV2Model(embedding_dim=3, cross_layers=2, hidden=(5,)),
    FmFamModel(embedding_dim=3),
    FmFamModel(embedding_dim=3, interaction="vectorized"),
    DcnModel(embedding_dim=3, cross_layers=3, hidden=(5, 4)),
    DlrmModel(embedding_dim=3, bottom_hidden=(6,), top_hidden=(5, 4)),
    TwoTowerModel(embedding_dim=3, item_fields=("history", "item", "price"), hidden=(5,), tower_dim=4),
    WukongModel(embedding_dim=4, size=2, block_hidden=(5,), hidden=(5, 4)),
    DeepFamModel(embedding_dim=3, hidden=(5, 4), dropout=0.3, batch_norm=True),
    DcnModel(embedding_dim=3, hidden=(5,), dropout=0.3, batch_norm=True),
    DcnV2Model(embedding_dim=3, hidden=(5,), dropout=0.3, batch_norm=True),
    WukongModel(embedding_dim=4, blocks=("fm", "linear", "cross", "attention"), block_hidden=(5,), hidden=(5,)),
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
        for layer in model.modules():
            if isinstance(layer, BatchNorm):
                layer.running_mean.normal_(generator=generator)
                layer.running_var.uniform_(0.5, 2, generator=generator)
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
    """Of one row, as in predicting."""
    for layer in layers.children():
        if isinstance(layer, torch.nn.Linear):
            x = layer.weight @ x + layer.bias
        elif isinstance(layer, BatchNorm):
            x = (x - layer.running_mean) / (layer.running_var + 1e-5).sqrt() * layer.weight + layer.bias
        elif isinstance(layer, torch.nn.ReLU):
            x = x.clamp(min=0)
        else:
            assert isinstance(layer, Dropout)
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


def reference_fmfam(model: Model, batch: Inputs, row: int) -> torch.Tensor:
    fields = reference_fields(model.embedding, batch, row, own_sequence_table=False)
    logit = model.bias + sum(reference_fields(model.first_order, batch, row, own_sequence_table=True))
    pair = 0
    for i in range(len(fields)):
        for j in range(i + 1, len(fields)):
            between = model.between[pair]
            matrix = between if between.dim() == 2 else torch.diag(between)
            logit = logit + (fields[i] @ matrix) @ fields[j]
            pair += 1
    return logit


def reference_dcn(model: Model, batch: Inputs, row: int) -> torch.Tensor:
    start = torch.cat(reference_fields(model.embedding, batch, row, own_sequence_table=False))
    crossed = start
    for layer in range(model.cross.weight.shape[0]):
        crossed = crossed + torch.dot(model.cross.weight[layer], crossed) * start + model.cross.bias[layer]
    return model.out.weight @ torch.cat([crossed, reference_mlp(model.deep, start)]) + model.out.bias


def reference_dlrm(model: Model, batch: Inputs, row: int) -> torch.Tensor:
    without_numeric = Inputs(batch.categorical, batch.numeric[:, :0], batch.sequences)
    vectors = reference_fields(model.embedding, without_numeric, row, own_sequence_table=False)
    dense = []
    if model.bottom is not None:
        dense = [reference_mlp(model.bottom, batch.numeric[row])]
    vectors = dense + vectors
    products = [vectors[i] @ vectors[j] for i in range(len(vectors)) for j in range(i + 1, len(vectors))]
    hidden = reference_mlp(model.top, torch.cat([*dense, torch.stack(products)]))
    return model.out.weight @ hidden + model.out.bias


def reference_two_tower(model: Model, batch: Inputs, row: int) -> torch.Tensor:
    user, item, hour, price, costly, history = reference_fields(model.embedding, batch, row, own_sequence_table=False)
    users = reference_mlp(model.user_tower, torch.cat([user, hour, costly]))
    items = reference_mlp(model.item_tower, torch.cat([item, price, history]))
    return users @ items + model.bias


def reference_norm(norm: torch.nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    return (x - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias


def reference_mixing(weight: torch.Tensor, vectors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [sum(row[i] * vector for i, vector in enumerate(vectors)) for row in weight]


def reference_block(block: torch.nn.Module, vectors: list[torch.Tensor]) -> list[torch.Tensor]:
    dim = len(vectors[0])
    match block:
        case FactorizationBlock():
            dots = [[one @ other for other in vectors] for one in vectors]
            columns = range(block.compression.shape[1])
            compressed = [
                sum(dot * block.compression[j, k] for j, dot in enumerate(row)) for row in dots for k in columns
            ]
            made = reference_mlp(block.layers, reference_norm(block.norm, torch.stack(compressed)))
            return list(made.split(dim))
        case CrossBlock():
            gates = block.gate.weight @ torch.cat(vectors) + block.gate.bias
            mixed = reference_mixing(block.mixing.weight, vectors)
            return [one * gate for one, gate in zip(mixed, gates.split(dim), strict=True)]
        case AttentionBlock():
            joint = [(block.joint.weight @ vector).split(dim) for vector in vectors]
            attended = []
            for query, _, _ in joint:
                weights = torch.stack([query @ key / dim**0.5 for _, key, _ in joint]).exp()
                attended.append(sum(w * value for w, (_, _, value) in zip(weights / weights.sum(), joint, strict=True)))
            return reference_mixing(block.mixing.weight, attended)
        case Mixing():
            return reference_mixing(block.weight, vectors)
    raise AssertionError(block)


def reference_wukong(model: Model, batch: Inputs, row: int) -> torch.Tensor:
    vectors = reference_fields(model.embedding, batch, row, own_sequence_table=False)
    for layer in model.interactions:
        made = [vector for block in layer.blocks for vector in reference_block(block, vectors)]
        shortcut = reference_mixing(layer.shortcut.weight, vectors) if isinstance(layer.shortcut, Mixing) else vectors
        vectors = [reference_norm(layer.norm, one + other) for one, other in zip(made, shortcut, strict=True)]
    return model.out.weight @ reference_mlp(model.deep, torch.cat(vectors)) + model.out.bias


REFERENCES = {
    "fam": reference_fam,
    "fmfam": reference_fmfam,
    "deepfam": reference_deepfam,
    "dcn": reference_dcn,
    "dcnv2": reference_dcnv2,
    "dlrm": reference_dlrm,
    "two_tower": reference_two_tower,
    "wukong": reference_wukong,
}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_equals_plain_loops(config: ModelConfig, small_schema: Schema) -> None:
    check_plain_loops(config, REFERENCES[config.type], small_schema, double(inputs()))


def test_dlrm_without_numeric_features_has_no_dense_vector(small_schema: Schema) -> None:
    features = tuple(feature for feature in small_schema.features if feature.kind != "numeric")
    batch = Inputs(inputs().categorical, torch.empty(3, 0, dtype=torch.float64), inputs().sequences)
    model = check_plain_loops(CONFIGS[6], reference_dlrm, small_schema.model_copy(update={"features": features}), batch)
    assert model.bottom is None


def check_plain_loops(
    config: ModelConfig, reference: Callable[[Model, Inputs, int], torch.Tensor], schema: Schema, batch: Inputs
) -> Model:
    """Compare logits and gradients, in predicting mode."""
    model = wide(build_model(config, schema, 1)).eval()
    logits = model(batch)
    expected = torch.stack([reference(model, batch, row) for row in range(3)])
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    weights = torch.tensor([[1.0], [2.0], [-3.0]], dtype=torch.float64)
    ours = torch.autograd.grad((logits * weights).sum(), list(model.parameters()))
    theirs = torch.autograd.grad((expected * weights).sum(), list(model.parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.to_dense() if mine.is_sparse else mine, other, rtol=0, atol=1e-9)
    return model


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_only_touched_rows_have_gradients(config: ModelConfig, small_schema: Schema) -> None:
    model = build_model(config, small_schema, 1)
    model(inputs()).sum().backward()
    for table in model.table_parameters():
        assert table.grad is not None
        assert table.grad.is_sparse
        assert table.grad.coalesce().indices().numel() < table.shape[0] / 4


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_width_is_that_of_the_backbone(config: ModelConfig, small_schema: Schema) -> None:
    model = build_model(config, small_schema, 1)
    assert model.backbone(inputs()).shape == (3, model.width)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_heads_beside_the_serving_one_change_no_logit(config: ModelConfig, small_schema: Schema) -> None:
    model = wide(build_model(config, small_schema, 1)).eval()
    logits, x = model.logits_and_backbone(double(inputs()))
    assert torch.equal(logits, model(double(inputs())))
    assert torch.equal(x, model.backbone(double(inputs())))
    torch.testing.assert_close(model.serve(x), logits, rtol=0, atol=1e-9)


def test_parameter_counts(small_schema: Schema) -> None:
    # tables: 50 + 30 + 24 rows of D, 2 numeric vectors; first order: the same with D = 1 and a table for the sequence
    first_order, embedding = 104 + 30 + 2, (104 + 2) * 3
    assert build_model(CONFIGS[0], small_schema, 1).parameter_count() == first_order + embedding + 1
    deep = 6 * 3 * 5 + 5 + 5 * 4 + 4 + 4 + 1
    assert build_model(CONFIGS[1], small_schema, 1).parameter_count() == first_order + embedding + 1 + deep
    cross, out = 2 * (18 * 18 + 18), (18 + 5) * 2 + 2
    assert build_model(CONFIGS[2], small_schema, 2).parameter_count() == embedding + cross + 18 * 5 + 5 + out


@pytest.mark.parametrize("config", CONFIGS[:9], ids=lambda config: config.type)
def test_several_tasks_are_predicted_or_refused(config: ModelConfig, small_schema: Schema) -> None:
    if config.type in MULTI_TASK_TYPES:
        assert build_model(config, small_schema, 2)(inputs()).shape == (3, 2)
    else:
        with pytest.raises(ValueError, match="predicts one task but got 2"):
            build_model(config, small_schema, 2)


@pytest.mark.parametrize("config", [DcnModel(), DcnV2Model(), DlrmModel(), WukongModel()], ids=lambda c: c.type)
def test_tasks_may_have_towers_on_one_trunk(config: ModelConfig, small_schema: Schema) -> None:
    model = build_model(config.model_copy(update={"tower_hidden": (4,)}), small_schema, 2)
    click, like = model(inputs())[:, 0], model(inputs())[:, 1]
    click.sum().backward()
    towers = model.out.of_task
    assert any(parameter.grad.any() for parameter in towers[0].parameters())
    assert not any(parameter.grad.any() for parameter in towers[1].parameters())
    assert model.embedding.table.grad is not None
    assert not torch.equal(click, like)


def test_wukong_grows_from_a_vm_to_sixty_times_its_training_flops() -> None:
    recipe = read_recipe(str(Path(__file__).parents[2] / "sims" / "quickstart.yaml"), [])
    schema = open_dataset(recipe.data).schema
    vm = training_flops(recipe.vms[0].model, schema.for_vm(), 1, 20)
    sizes = (1, 2, 5, 10, 20, 40, 95)
    ratios = [training_flops(WukongModel(size=size), schema, 1, 20) / vm for size in sizes]
    assert ratios == sorted(ratios)
    assert 0.7 < ratios[0] < 1.2
    assert ratios[-1] > 60
    for size, ratio in zip(sizes, ratios, strict=True):
        assert 0.55 < ratio / size < 1.2, size


@pytest.mark.parametrize("interaction", ["matrixed", "vectorized"])
def test_fmfam_starts_as_the_factorization_machine(
    interaction: Literal["matrixed", "vectorized"], small_schema: Schema
) -> None:
    fmfam = build_model(FmFamModel(embedding_dim=3, interaction=interaction), small_schema, 1).double()
    fam = wide(build_model(CONFIGS[0], small_schema, 1))
    fmfam.load_state_dict(fam.state_dict() | {"between": fmfam.between})
    torch.testing.assert_close(fmfam(double(inputs())), fam(double(inputs())), rtol=0, atol=1e-9)


def test_dlrm_needs_a_pair(small_schema: Schema) -> None:
    lonely = small_schema.model_copy(update={"features": (Feature(name="user", kind="categorical", rows=5),)})
    with pytest.raises(ValueError, match="these features give only one"):
        build_model(CONFIGS[6], lonely, 1)


@pytest.mark.parametrize(
    ("item_fields", "told"),
    [
        (("item", "prize"), "item_fields names 'prize', which is no feature here; choose from user, item, hour"),
        (("user", "item", "hour", "price", "costly", "history"), "names all 6 features; leave at least one"),
    ],
)
def test_towers_without_fields_are_refused(item_fields: tuple[str, ...], told: str, small_schema: Schema) -> None:
    with pytest.raises(ValueError, match=told):
        build_model(TwoTowerModel(item_fields=item_fields), small_schema, 1)


@pytest.mark.parametrize("config", [FamModel(), FmFamModel(), DeepFamModel()], ids=lambda config: config.type)
def test_only_the_first_order_of_sequences_starts_as_in_fuxictr(config: ModelConfig, small_schema: Schema) -> None:
    def start(init: str) -> Model:
        changed = config.model_copy(update={"init": init})
        return seeded(lambda: build_model(changed, small_schema, 1), 0, "model")

    clean, fuxictr = start("clean").first_order.table, start("fuxictr").first_order.table
    assert clean.std().item() == pytest.approx(1e-4, rel=0.3)
    assert torch.equal(fuxictr[:104], clean[:104])
    assert fuxictr[104:].std().item() == pytest.approx(1.0, rel=0.4)


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
