"""Training steps in bfloat16 and TF32 beside those in float32."""

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional

from exfm_ray.config import DminModel, InterestGroup, ModelConfig, Precision
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.model import Model
from exfm_ray.models.precision import computed_in, multiplied_in
from tests.models.test_serving import CONFIGS, name_of, random_inputs, schema_of

ROWS = 1_024
CPU = torch.device("cpu")
TOLERANCE = 0.02
"""of the length of all logits; a number in bfloat16 has 8 bits, so each product is within 1/256"""
GRADIENT_TOLERANCE = 0.1
"""of the gradient's length; among layers of 4 to 8 units, one that ends on the other side of zero weighs much"""


def dmin(activation: str, heads: int) -> ModelConfig:
    return DminModel(
        embedding_dim=4,
        groups=(InterestGroup(targets=("item",), sequences=("history_0",)),),
        attention_hidden=(8, 4),
        attention_activation=activation,
        heads=heads,
        position_dim=2,
        max_length=5,
        hidden=(8,),
        refiner=True,
    )


ALL = [*CONFIGS, dmin("relu", 1), dmin("dice", 2)]


@pytest.fixture(autouse=True)
def one_precision_before_and_after() -> Iterator[None]:
    yield
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.is_autocast_enabled("cpu")


def stepped(config: ModelConfig, precision: Precision) -> tuple[Model, torch.Tensor]:
    """A model with the gradients of one step, and its logits."""
    model = seeded(lambda: build_model(config, schema_of(numeric=2, sequences=1), 1), 0, "model").train()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    labels = torch.rand(ROWS, 1, generator=generator)
    with multiplied_in(precision):
        with computed_in(precision, CPU):
            logits = model(random_inputs(ROWS, 2, 1, 5))
            loss = functional.binary_cross_entropy_with_logits(logits, labels)
        loss.backward()
    return model, logits.detach()


def gradient(model: Model) -> torch.Tensor:
    """Of all parameters, end to end."""
    gradients = [parameter.grad for parameter in model.parameters()]
    assert {made.dtype for made in gradients if made is not None} == {torch.float32}
    return torch.cat([made.to_dense().flatten() for made in gradients if made is not None])


@pytest.mark.parametrize("config", ALL, ids=name_of)
def test_bfloat16_changes_a_step_by_no_more_than_its_rounding(config: ModelConfig) -> None:
    (exact, logits), (reduced, rounded) = stepped(config, "float32"), stepped(config, "bf16")
    expected = gradient(exact)
    assert (gradient(reduced) - expected).norm() < GRADIENT_TOLERANCE * expected.norm()
    assert (rounded - logits).norm() < TOLERANCE * logits.norm()
    assert {parameter.dtype for parameter in reduced.parameters()} == {torch.float32}


@pytest.mark.parametrize("config", [one for one in ALL if one.type in ("deepfam", "dcn", "dcnv2", "dmin")], ids=name_of)
def test_bfloat16_is_in_use(config: ModelConfig) -> None:
    (exact, _), (reduced, _) = stepped(config, "float32"), stepped(config, "bf16")
    assert not torch.equal(gradient(exact), gradient(reduced))


def test_tf32_is_float32_on_a_cpu() -> None:
    for config in ALL[-3:]:
        (exact, logits), (same, others) = stepped(config, "float32"), stepped(config, "tf32")
        assert torch.equal(logits, others)
        assert torch.equal(gradient(exact), gradient(same))


def test_tf32_is_switched_on_for_the_step_alone() -> None:
    with multiplied_in("tf32"):
        assert torch.backends.cuda.matmul.allow_tf32
        with multiplied_in("float32"):
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
