"""Distillation by identity: what must be equal is equal bit for bit."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.nn import functional

from exfm_ray.config import (
    AdapterConfig,
    DcnModel,
    DcnV2Model,
    DeepFamModel,
    DistillConfig,
    DlrmModel,
    DminModel,
    FamModel,
    FmFamModel,
    InterestGroup,
    TwoTowerModel,
    VerticalModelConfig,
    WukongModel,
)
from exfm_ray.distill.adapter import StudentAdapter
from exfm_ray.distill.losses import adapter_loss, cross_entropy, student_loss
from exfm_ray.distill.scaling import scale_gradient, scale_label
from exfm_ray.distill.step import train_step
from exfm_ray.distill.student import Student
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.schema import Method, Schema
from exfm_ray.train.optimizers import build_adapter_optimizer, build_optimizers

GROUPS = (InterestGroup(targets=("item",), sequences=("history",)),)
MODELS = [
    FamModel(embedding_dim=4),
    DeepFamModel(embedding_dim=4, hidden=(8, 4)),
    DcnV2Model(embedding_dim=4, cross_layers=1, hidden=(8,)),
    FmFamModel(embedding_dim=4),
    FmFamModel(embedding_dim=4, interaction="vectorized", init="fuxictr"),
    DcnModel(embedding_dim=4, hidden=(8,)),
    DlrmModel(embedding_dim=4, bottom_hidden=(6,), top_hidden=(8, 4)),
    TwoTowerModel(embedding_dim=4, item_fields=("item", "history"), hidden=(8,), tower_dim=4),
    DeepFamModel(embedding_dim=4, hidden=(8, 4), dropout=0.3, batch_norm=True),
    DcnModel(embedding_dim=4, hidden=(8,), dropout=0.3),
    DminModel(embedding_dim=4, heads=2, position_dim=2, refiner=True, groups=GROUPS, hidden=(8,)),
    DminModel(
        embedding_dim=4,
        groups=GROUPS,
        hidden=(8, 4),
        activation="dice",
        attention_activation="dice",
        batch_norm=True,
        attention_dropout=0.2,
        head_dropout=0.1,
        dropout=0.3,
    ),
    WukongModel(embedding_dim=4, size=0.5),
    WukongModel(embedding_dim=4, blocks=("fm", "linear", "cross", "attention")),
]
BATCH = 32


def batches(count: int) -> list[tuple[Inputs, torch.Tensor, torch.Tensor]]:
    """Inputs of `small_schema` for VMs, labels, pseudo-labels."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for _ in range(count):
        lengths = torch.randint(0, 4, (BATCH,), generator=generator)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        made.append(
            (
                Inputs(
                    categorical=torch.stack(
                        [torch.randint(0, rows, (BATCH,), generator=generator) for rows in (50, 30, 24)], dim=1
                    ),
                    numeric=torch.randn(BATCH, 1, generator=generator),
                    sequences=(SequenceInput(torch.randint(0, 30, (int(offsets[-1]),), generator=generator), offsets),),
                ),
                torch.randint(0, 2, (BATCH,), generator=generator).float(),
                torch.rand(BATCH, generator=generator),
            )
        )
    return made


def student(model: Any, method: Method, schema: Schema, **distill: Any) -> Student:
    vm = VerticalModelConfig(name="vm", model=model)
    return Student(vm, DistillConfig.model_validate(distill), method, schema.for_vm(), seed=5)


def trained(made: Student, steps: int = 4) -> Student:
    optimizers = build_optimizers(
        VerticalModelConfig(name="vm").optimizer, made.dense_groups(), made.table_parameters()
    )
    adapter = torch.optim.Adam(made.adapter_parameters(), lr=0.01) if made.adapter is not None else None
    for inputs, label, fm_prob in batches(steps):
        train_step(made, inputs, label, fm_prob, list(optimizers.values()), adapter)
    return made


def assert_same(left: torch.nn.Module, right: torch.nn.Module) -> None:
    for (name, one), (_, other) in zip(left.state_dict().items(), right.state_dict().items(), strict=True):
        assert torch.equal(one, other), name


def dense_gradients(module: Student) -> list[torch.Tensor]:
    return [torch.zeros(()) if p.grad is None else p.grad.to_dense() for p in module.model.parameters()]


# ------------------------------------------------------------------------------------------- scaling


def test_scaled_labels_are_clipped_at_one() -> None:
    assert scale_label(torch.tensor([0.1, 0.3, 0.9]), 3.0).tolist() == pytest.approx([0.3, 0.9, 1.0])


@pytest.mark.parametrize("grad_scale", [0.0, 0.3, 1.0, 5.0])
def test_gradient_scaling_is_the_identity_forward_and_exact_backward(grad_scale: float) -> None:
    x = torch.randn(7, requires_grad=True)
    assert torch.equal(scale_gradient(x, grad_scale), x)
    (plain,) = torch.autograd.grad((x.sin()).sum(), x)
    (scaled,) = torch.autograd.grad((scale_gradient(x, grad_scale).sin()).sum(), x)
    assert torch.equal(scaled, plain * grad_scale)


# -------------------------------------------------------------------------------------------- losses


def test_cross_entropy_has_the_minus_sign() -> None:
    logit, target = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.25])
    probability = torch.sigmoid(logit)
    expected = -(target * probability.log() + (1 - target) * (1 - probability).log()).mean()
    assert cross_entropy(logit, target).item() == pytest.approx(expected.item(), abs=1e-7)
    assert cross_entropy(logit, target) > 0


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.type)
def test_each_method_minimizes_what_the_paper_says(model: Any, small_schema: Schema) -> None:
    """Eq. 2, 5 and 7 written out from the student's own parts."""
    ((inputs, label, fm_prob),) = batches(1)
    scales = {"label_scale": 1.7, "grad_scale": 3.0, "loss_weight": 0.4}
    made = student(model, "ah_sa", small_schema, **scales)
    h = functional.binary_cross_entropy_with_logits
    x = made.model.backbone(inputs)
    serving = h(made.model.serve(x)[:, 0], label)
    assert made.distillation_head is not None
    assert made.adapted_head is not None
    assert made.adapter is not None
    distillation = h(made.distillation_head(x)[:, 0], (1.7 * fm_prob).clamp(max=1))
    adapted = h(made.adapted_head(x)[:, 0], torch.sigmoid(made.adapter(fm_prob)))
    expected = {
        "none": serving,
        "kd": serving + 0.4 * h(made.model.serve(x)[:, 0], (1.7 * fm_prob).clamp(max=1)),
        "ah": serving + 0.4 * distillation,
        "ah_sa": serving + 0.4 * distillation + adapted,
    }
    for method, loss in expected.items():
        ours = student_loss(student(model, method, small_schema, **scales), inputs, label, fm_prob)  # type: ignore[arg-type]
        assert ours.item() == pytest.approx(loss.item(), abs=1e-6), method


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.type)
def test_beta_scales_the_backbone_gradient_alone(model: Any, small_schema: Schema) -> None:
    ((single, label, fm_prob),) = batches(1)
    # float64: behind batch normalization the gradient of a bias is 0 but for rounding
    inputs = Inputs(single.categorical, single.numeric.double(), single.sequences)

    def gradients(grad_scale: float) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        made = student(model, "ah", small_schema, grad_scale=grad_scale).double()
        student_loss(made, inputs, label.double(), fm_prob.double()).backward()
        assert made.distillation_head is not None
        return dense_gradients(made), [p.grad for p in made.distillation_head.parameters() if p.grad is not None]

    serving, _ = gradients(0.0)
    once, head = gradients(1.0)
    four_times, same_head = gradients(4.0)
    for zero, one, four in zip(serving, once, four_times, strict=True):
        torch.testing.assert_close(four - zero, 4 * (one - zero), rtol=1e-6, atol=1e-12)
    assert any((one - zero).abs().max() > 1e-6 for zero, one in zip(serving, once, strict=True))
    for one, four in zip(head, same_head, strict=True):
        assert torch.equal(one, four)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.type)
def test_without_weight_or_gradient_ah_equals_none_bit_for_bit(model: Any, small_schema: Schema) -> None:
    none = trained(student(model, "none", small_schema))
    assert_same(trained(student(model, "ah", small_schema, loss_weight=0.0)).model, none.model)
    assert_same(trained(student(model, "ah", small_schema, grad_scale=0.0)).model, none.model)


def test_kd_is_equation_2_by_default(small_schema: Schema) -> None:
    ((inputs, label, fm_prob),) = batches(1)
    made = student(MODELS[0], "kd", small_schema)
    logit = made.model(inputs)[:, 0]
    h = functional.binary_cross_entropy_with_logits
    assert torch.equal(student_loss(made, inputs, label, fm_prob), h(logit, label) + h(logit, fm_prob))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.type)
def test_kd_without_weight_equals_none_bit_for_bit(model: Any, small_schema: Schema) -> None:
    none = trained(student(model, "none", small_schema))
    assert_same(trained(student(model, "kd", small_schema, loss_weight=0.0)).model, none.model)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.type)
def test_all_methods_start_from_the_same_served_model(model: Any, small_schema: Schema) -> None:
    methods: Sequence[Method] = ("none", "kd", "ah", "ah_sa")
    none, *others = (student(model, method, small_schema) for method in methods)
    for other in others:
        assert_same(other.model, none.model)
        assert other.model.parameter_count() == none.model.parameter_count()


@pytest.mark.parametrize("method", ["kd", "ah", "ah_sa"])
def test_distillation_does_change_the_model(method: Method, small_schema: Schema) -> None:
    none, distilled = (
        trained(student(MODELS[1], "none", small_schema)),
        trained(student(MODELS[1], method, small_schema)),
    )
    assert not torch.equal(none.model.embedding.table, distilled.model.embedding.table)


# ------------------------------------------------------------------------------------------- adapter


def test_the_adapter_starts_as_the_identity() -> None:
    fm_prob = torch.tensor([0.001, 0.2, 0.5, 0.97])
    adapted = torch.sigmoid(StudentAdapter(AdapterConfig())(fm_prob))
    torch.testing.assert_close(adapted, fm_prob, rtol=1e-6, atol=0)


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_the_adapter_survives_a_certain_fm(certain: float) -> None:
    assert torch.isfinite(StudentAdapter(AdapterConfig())(torch.tensor([certain]))).all()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.type)
def test_no_gradient_passes_between_adapter_and_vm(model: Any, small_schema: Schema) -> None:
    ((inputs, label, fm_prob),) = batches(1)
    made = student(model, "ah_sa", small_schema)
    student_loss(made, inputs, label, fm_prob).backward()
    assert all(parameter.grad is None for parameter in made.adapter_parameters())
    made.zero_grad(set_to_none=True)
    adapter_loss(made, fm_prob, label).backward()
    assert all(parameter.grad is None for parameter in [*made.dense_parameters(), *made.table_parameters()])
    assert any(parameter.grad is not None for parameter in made.adapter_parameters())


def test_the_adapter_learns_alike_whatever_the_vm_is(small_schema: Schema) -> None:
    one, other = (trained(student(model, "ah_sa", small_schema)) for model in MODELS[:2])
    assert one.adapter is not None
    assert other.adapter is not None
    assert_same(one.adapter, other.adapter)


def test_the_adapter_is_updated_before_its_output_is_used(small_schema: Schema) -> None:
    """Algorithm 1: the VM's step on the first batch uses the adapter after its first step."""
    ((inputs, label, fm_prob),) = batches(1)
    made = trained(student(MODELS[0], "ah_sa", small_schema), steps=1)

    by_hand = student(MODELS[0], "ah_sa", small_schema)
    adapter_optimizer = torch.optim.Adam(by_hand.adapter_parameters(), lr=0.01)
    adapter_loss(by_hand, fm_prob, label).backward()
    adapter_optimizer.step()
    optimizers = build_optimizers(
        VerticalModelConfig(name="vm").optimizer, by_hand.dense_parameters(), by_hand.table_parameters()
    )
    student_loss(by_hand, inputs, label, fm_prob).backward()
    for optimizer in optimizers.values():
        optimizer.step()
    assert_same(made, by_hand)

    stale = student(MODELS[0], "ah_sa", small_schema)
    optimizers = build_optimizers(
        VerticalModelConfig(name="vm").optimizer, stale.dense_parameters(), stale.table_parameters()
    )
    student_loss(stale, inputs, label, fm_prob).backward()
    assert stale.adapted_head is not None
    assert made.adapted_head is not None
    for optimizer in optimizers.values():
        optimizer.step()
    assert any(
        not torch.equal(one, other)
        for one, other in zip(stale.adapted_head.parameters(), made.adapted_head.parameters(), strict=True)
    )


@pytest.mark.parametrize("method", ["ah", "ah_sa"])
def test_heads_learn_at_their_own_rate(method: Method, small_schema: Schema) -> None:
    """At the VM's own rate nothing changes; at none at all the heads stay as they start and the rest still learns."""
    rate = VerticalModelConfig(name="vm").optimizer.learning_rate
    as_vm, same, still = (
        trained(student(MODELS[0], method, small_schema, head_learning_rate=own)) for own in (None, rate, 1e-30)
    )
    assert_same(as_vm, same)
    start = student(MODELS[0], method, small_schema)
    for name, value in still.state_dict().items():
        if name.startswith(("distillation_head", "adapted_head")):
            assert (value - start.state_dict()[name]).abs().max() < 1e-25, name
    assert not all(torch.equal(a, b) for a, b in zip(still.model.parameters(), start.model.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "sgd"])
def test_the_adapter_has_an_optimizer_of_its_own(optimizer: str, small_schema: Schema) -> None:
    config = AdapterConfig.model_validate({"optimizer": optimizer, "learning_rate": 0.3, "hidden": (5, 3)})
    made = student(MODELS[0], "ah_sa", small_schema, adapter=config)
    ((_, label, fm_prob),) = batches(1)
    adapter_optimizer = build_adapter_optimizer(config, made.adapter_parameters())
    before = made.model.state_dict()["bias"].clone(), adapter_loss(made, fm_prob, label).item()
    for _ in range(5):
        adapter_optimizer.zero_grad()
        adapter_loss(made, fm_prob, label).backward()
        adapter_optimizer.step()
    assert adapter_loss(made, fm_prob, label).item() < before[1]
    assert torch.equal(made.model.state_dict()["bias"], before[0])
    assert [layer.out_features for layer in made.adapter.hidden if isinstance(layer, torch.nn.Linear)] == [5, 3]  # type: ignore[union-attr]


@pytest.mark.parametrize("hidden", [(), (7,), (9, 5)])
def test_heads_are_as_deep_and_wide_as_asked(hidden: tuple[int, ...], small_schema: Schema) -> None:
    made = student(MODELS[0], "ah_sa", small_schema, head_hidden=hidden)
    for head in (made.distillation_head, made.adapted_head):
        assert head is not None
        widths = [layer.out_features for layer in head.modules() if isinstance(layer, torch.nn.Linear)]
        assert widths == [*hidden, 1]
