"""DMIN against plain loops over rows, positions and heads in float64, and against the published parameter counts."""

import math
from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from pydantic import ValidationError

from exfm_ray.config import DcnV2Model, DminModel, InterestGroup
from exfm_ray.models.build import build_model
from exfm_ray.models.dice import Dice
from exfm_ray.models.dmin import Dmin
from exfm_ray.models.histories import Histories
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.interests import FeedForward, InterestExtractor, Refiner, TargetAttention
from exfm_ray.schema import Feature, Schema

Module = TypeVar("Module", bound=torch.nn.Module)

LENGTHS = [3, 0, 1, 6, 4]
GROUP = InterestGroup(targets=("item", "kind"), sequences=("items", "kinds"))


@pytest.fixture
def schema() -> Schema:
    return Schema(
        features=(
            Feature(name="user", kind="categorical", rows=40),
            Feature(name="item", kind="categorical", rows=30),
            Feature(name="price", kind="numeric"),
            Feature(name="searches", kind="sequence", shares="kind"),
            Feature(name="kind", kind="categorical", rows=20),
            Feature(name="kinds", kind="sequence", shares="kind"),
            Feature(name="items", kind="sequence", shares="item"),
        ),
        tasks=("click", "like"),
        domains=("a",),
        stages=("later",),
    )


def config(**changes: object) -> DminModel:
    fields = {"embedding_dim": 4, "groups": (GROUP,), "attention_hidden": (16, 12), "hidden": (12, 9), "max_length": 5}
    return DminModel.model_validate(fields | changes)


def offsets_of(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)


def inputs(lengths: list[int] = LENGTHS) -> Inputs:
    """Rows with histories of the given lengths; one of them is longer than `max_length`."""
    generator = torch.Generator().manual_seed(3)

    def ids(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, high, shape, generator=generator)

    offsets, rows = offsets_of(lengths), len(lengths)
    return Inputs(
        categorical=torch.stack([ids(40, rows), ids(30, rows), ids(20, rows)], dim=1),
        numeric=torch.randn(rows, 1, generator=generator, dtype=torch.float64),
        sequences=(
            SequenceInput(ids(20, 2 * rows), torch.arange(0, 2 * rows + 1, 2)),
            SequenceInput(ids(20, sum(lengths)), offsets),
            SequenceInput(ids(30, sum(lengths)), offsets),
        ),
    )


def wide(module: Module) -> Module:
    """In float64, with values far from zero, so that every term counts; running moments that are not 0 and 1."""
    generator = torch.Generator().manual_seed(7)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand(buffer.shape, generator=generator, dtype=torch.float64) + 0.5)
    return module


def reference_layers(layers: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """An MLP on one vector (inputs,), outside training."""
    for layer in layers.children():
        if isinstance(layer, torch.nn.Linear):
            x = layer.weight @ x + layer.bias
        elif isinstance(layer, Dice):
            moments = layer.standardized
            on = 1 / (1 + torch.exp(-(x - moments.running_mean) / torch.sqrt(moments.running_var + 1e-8)))
            x = on * x + (1 - on) * layer.alpha * x
        else:
            x = x.clamp(min=0)
    return x


def reference_feed_forward(part: FeedForward, x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean()
    s = centred / torch.sqrt((centred**2).mean() + 1e-5) * part.norm.weight + part.norm.bias
    return reference_layers(part.layers, s) + s


def reference_heads(joint: torch.nn.Linear, history: list[torch.Tensor], heads: int) -> list[list[torch.Tensor]]:
    """Per position, per head, causal self-attention: Σ_{m ≤ l} softmax(q_l·k_m / √(d/H)) v_m."""
    dim = len(history[0])
    size = dim // heads
    projected = [joint.weight @ h if joint.bias is None else joint.weight @ h + joint.bias for h in history]
    result = []
    for place in range(len(history)):
        outputs = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            query = projected[place][:dim][part]
            scores = [(query @ projected[m][dim : 2 * dim][part]) / math.sqrt(size) for m in range(place + 1)]
            weights = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
            outputs.append(sum(w * projected[m][2 * dim :][part] for m, w in enumerate(weights)))
        result.append(outputs)
    return result


def reference_refined(refiner: Refiner, history: list[torch.Tensor]) -> list[torch.Tensor]:
    heads = reference_heads(refiner.joint, history, refiner.heads)
    return [
        reference_feed_forward(refiner.feed_forward, refiner.out.weight @ torch.cat(head) + refiner.out.bias + element)
        for head, element in zip(heads, history, strict=True)
    ]


def reference_target_attention(
    part: TargetAttention, target: torch.Tensor, elements: list[torch.Tensor]
) -> torch.Tensor:
    scores = []
    for place, z in enumerate(elements):
        t = target
        if part.positions is not None:
            position = part.positions[min(place, len(part.positions) - 1)]
            t = part.project.weight @ torch.cat([target, position]) + part.project.bias
        first = part.first.weight @ torch.cat([t, z, t - z, t * z]) + part.first.bias
        scores.append(reference_layers(part.rest, first))
    exponentials = torch.cat(scores).exp()
    return sum(w * z for w, z in zip(exponentials / exponentials.sum(), elements, strict=True))


def reference_interests(
    extractor: InterestExtractor, target: torch.Tensor, history: list[torch.Tensor]
) -> list[torch.Tensor]:
    heads = reference_heads(extractor.joint, history, len(extractor.interests))
    interests = []
    for index, interest in enumerate(extractor.interests):
        elements = [
            reference_feed_forward(interest.feed_forward, interest.out.weight @ heads[place][index] + history[place])
            for place in range(len(history))
        ]
        interests.append(reference_target_attention(interest.attention, target, elements))
    return interests


def reference(model: Dmin, batch: Inputs, row: int) -> torch.Tensor:
    """Logits of one row, the feature order being that of `schema`."""
    table, numeric = model.embedding.table, model.embedding.numeric
    user, item, kind = (table[start + int(batch.categorical[row, i])] for i, start in enumerate([0, 40, 70]))
    searches, kinds, items = (sequence.rows(row, row + 1).values for sequence in batch.sequences)
    history = [torch.cat([table[40 + int(i)], table[70 + int(k)]]) for i, k in zip(items, kinds, strict=True)]
    interests = []
    for group in model.groups:
        if not history:
            interests.append(torch.zeros(group.width, dtype=torch.float64))
            continue
        refined = history if group.refiner is None else reference_refined(group.refiner, history)
        interests += reference_interests(group.extractor, torch.cat([item, kind]), refined)
    average = sum(table[70 + int(i)] for i in searches) / len(searches)
    x = torch.cat([*interests, user, item, kind, batch.numeric[row, 0] * numeric[0], average])
    if not isinstance(model.norm, torch.nn.Identity):
        norm = model.norm
        x = (x - norm.running_mean) / torch.sqrt(norm.running_var + 1e-5) * norm.weight + norm.bias
    x = reference_layers(model.deep, x)
    towers = getattr(model.out, "of_task", None)
    if towers is None:
        return model.out.weight @ x + model.out.bias
    return torch.cat([reference_layers(tower, x) for tower in towers])


VARIANTS = {
    "one head": config(),
    "two heads": config(heads=2),
    "refiner, one head": config(refiner=True),
    "refiner, two heads": config(refiner=True, heads=2),
    "positions": config(position_dim=3),
    "positions, refiner, two heads": config(position_dim=3, refiner=True, heads=2),
    "dice": config(attention_activation="dice", activation="dice", batch_norm=True, heads=2),
    "two groups": config(groups=(GROUP, GROUP)),
    "towers": config(tower_hidden=(7, 6)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_plain_loops(name: str, schema: Schema) -> None:
    model, batch = wide(build_model(VARIANTS[name], schema, 2)).eval(), inputs()
    assert isinstance(model, Dmin)
    logits = model(batch)
    expected = torch.stack([reference(model, batch, row) for row in range(len(batch))])
    assert logits.shape == (len(LENGTHS), 2)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = torch.autograd.grad((logits * weights).sum(), list(model.parameters()))
    theirs = torch.autograd.grad((expected * weights).sum(), list(model.parameters()))
    for (part, parameter), mine, other in zip(model.named_parameters(), ours, theirs, strict=True):
        if parameter.ndim > 1:  # an attention's biases may cancel: a softmax does not see a shift of all scores
            assert other.abs().max() > 1e-6, f"{part} takes no part"
        torch.testing.assert_close(mine.to_dense() if mine.is_sparse else mine, other, rtol=0, atol=1e-9)


def test_float32_is_near_the_plain_loops(schema: Schema) -> None:
    model, batch = wide(build_model(VARIANTS["positions, refiner, two heads"], schema, 1)), inputs()
    expected = torch.stack([reference(model, batch, row) for row in range(len(batch))])
    single = Inputs(batch.categorical, batch.numeric.float(), batch.sequences)
    torch.testing.assert_close(model.float()(single).double(), expected, rtol=1e-4, atol=1e-4)


def test_rows_without_history_have_no_interest(schema: Schema) -> None:
    model, batch = wide(build_model(config(refiner=True, heads=2, position_dim=3), schema, 1)), inputs()
    (group,) = model.groups
    vectors = model.embedding.vectors(batch)
    interests = group(vectors, batch, vectors.fields())
    assert interests.shape == (len(LENGTHS), 2 * 8)
    assert [bool((row == 0).all()) for row in interests] == [length == 0 for length in LENGTHS]


def test_a_batch_without_any_history(schema: Schema) -> None:
    model, batch = wide(build_model(config(refiner=True), schema, 1)), inputs([0, 0])
    logits = model(batch)
    torch.testing.assert_close(logits, torch.stack([reference(model, batch, row) for row in range(2)]))
    logits.sum().backward()
    assert model.embedding.table.grad is not None


def test_permuted_rows_give_permuted_outputs(schema: Schema) -> None:
    model, batch = wide(build_model(config(refiner=True, heads=2, position_dim=3), schema, 1)), inputs()
    order = [4, 0, 3, 1, 2]
    permuted = Inputs(
        batch.categorical[order],
        batch.numeric[order],
        tuple(
            SequenceInput(
                torch.cat([sequence.rows(row, row + 1).values for row in order]),
                offsets_of([len(sequence.rows(row, row + 1).values) for row in order]),
            )
            for sequence in batch.sequences
        ),
    )
    torch.testing.assert_close(model(permuted), model(batch)[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("heads", [1, 2])
def test_no_element_sees_a_later_one_or_another_row(heads: int) -> None:
    """Also where a history is filled up: what fills it is its last element, which is changed here as well."""
    histories = Histories.of(offsets_of(LENGTHS))
    refiner = wide(Refiner(6, heads))
    history = torch.randn(sum(LENGTHS), 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    before = refiner(history, histories)
    for changed in range(len(history)):
        other = history.clone()
        other[changed] += 10
        moved = (refiner(other, histories) != before).any(dim=1)
        row_end = int(histories.offsets[histories.row[changed] + 1])
        assert moved.nonzero().flatten().tolist() == list(range(changed, row_end))


def test_a_change_of_one_history_changes_that_row_alone(schema: Schema) -> None:
    model, batch = wide(build_model(config(refiner=True, heads=2), schema, 1)), inputs()
    before = model(batch)
    start, stop = int(batch.sequences[2].offsets[3]), int(batch.sequences[2].offsets[4])
    values = batch.sequences[2].values.clone()
    values[start:stop] = (values[start:stop] + 1) % 30
    changed = (*batch.sequences[:2], SequenceInput(values, batch.sequences[2].offsets), *batch.sequences[3:])
    assert (model(Inputs(batch.categorical, batch.numeric, changed)) != before).any(
        dim=1
    ).nonzero().flatten().tolist() == [3]


def test_softmax_of_each_history() -> None:
    histories = Histories.of(offsets_of([2, 0, 1, 3]))
    scores = torch.tensor([0.0, math.log(3), 5.0, 1_000.0, 1_000.0, -1_000.0], dtype=torch.float64)
    expected = torch.tensor([0.25, 0.75, 1.0, 0.5, 0.5, 0.0], dtype=torch.float64)
    torch.testing.assert_close(histories.softmax(scores), expected)


def test_dice_in_training_is_of_the_batch() -> None:
    dice = Dice(1)
    dice.alpha.data.fill_(0.5)
    s = torch.tensor([[-2.0], [0.0], [2.0]])  # mean 0, variance 8/3
    on = 1 / (1 + math.exp(2 / math.sqrt(8 / 3)))
    expected = torch.tensor([[-2 * (on + (1 - on) * 0.5)], [0.0], [2 * ((1 - on) + on * 0.5)]])
    torch.testing.assert_close(dice(s), expected)
    torch.testing.assert_close(dice.standardized.running_var, torch.tensor([0.9 + 0.1 * 4.0]))  # unbiased: 8/2


def test_a_batch_of_one_row_trains(schema: Schema) -> None:
    dice = config(attention_activation="dice", activation="dice", batch_norm=True)
    model, batch = wide(build_model(dice, schema, 1)), inputs([1])
    moments = model.norm.running_var.clone()
    logits = model(batch)
    torch.testing.assert_close(logits, reference(model, batch, 0).unsqueeze(0))
    assert torch.equal(model.norm.running_var, moments)


def test_only_touched_rows_have_gradients(schema: Schema) -> None:
    model, batch = build_model(config(), schema, 1).double(), inputs([2, 1])
    model(batch).sum().backward()
    (table,) = model.table_parameters()
    assert table.grad.is_sparse
    touched = {
        int(value) + start for start, column in zip([0, 40, 70], batch.categorical.T, strict=True) for value in column
    }
    for start, sequence in zip([70, 70, 40], batch.sequences, strict=True):
        touched |= {start + int(value) for value in sequence.values}
    assert table.grad.coalesce().indices().flatten().tolist() == sorted(touched)


def test_width_is_that_of_the_last_hidden_layer(schema: Schema) -> None:
    model = build_model(config(), schema, 1).double()
    assert model.width == 9
    assert model.backbone(inputs()).shape == (len(LENGTHS), 9)


def test_sequences_of_a_group_must_be_as_long_as_each_other(schema: Schema) -> None:
    batch = inputs([2, 1])
    shorter = SequenceInput(batch.sequences[1].values, torch.tensor([0, 1, 3]))
    uneven = Inputs(batch.categorical, batch.numeric, (batch.sequences[0], shorter, batch.sequences[2]))
    with pytest.raises(ValueError, match="sequence kinds must be as long as items in every row"):
        build_model(config(), schema, 1).double()(uneven)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"targets": ("item",), "sequences": ("items", "kinds")}, "targets names 1 features but sequences 2"),
        ({"targets": ("item", "item"), "sequences": ("items", "kinds")}, "targets repeats a name"),
    ],
)
def test_wrong_groups_are_told(group: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        InterestGroup.model_validate(group)


def test_heads_must_divide_the_dimension() -> None:
    with pytest.raises(ValidationError, match="heads: 3 must divide embedding_dim x targets of every group"):
        config(heads=3)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"targets": ("price",), "sequences": ("items",)}, "groups.0.targets: 'price' is no categorical feature"),
        ({"targets": ("item",), "sequences": ("bought",)}, "groups.0.sequences: 'bought' is no sequence feature"),
    ],
)
def test_unknown_features_are_told(group: dict[str, tuple[str, ...]], message: str, schema: Schema) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(config(groups=(group,)), schema, 1)


@pytest.mark.parametrize(
    "build", [lambda **fields: config(**fields), lambda **fields: DcnV2Model(embedding_dim=4, **fields)]
)
def test_towers_are_of_their_task_alone(build: Callable[..., DminModel | DcnV2Model], schema: Schema) -> None:
    model, batch = wide(build_model(build(tower_hidden=(6,)), schema, 2)), inputs()
    x = model.backbone(batch)
    first, second = model.out.of_task
    torch.testing.assert_close(model.serve(x)[1, 0], reference_layers(first, x[1])[0])
    model(batch)[:, 0].sum().backward()
    assert any(bool(parameter.grad.any()) for parameter in first.parameters())
    assert not any(bool(parameter.grad.any()) for parameter in second.parameters())


def test_without_towers_the_output_is_one_linear_layer(schema: Schema) -> None:
    model = build_model(DcnV2Model(embedding_dim=4), schema, 2)
    assert isinstance(model.out, torch.nn.Linear)
    assert model.out.out_features == 2
