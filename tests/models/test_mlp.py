"""The MLP's dropout and batch normalization."""

import pytest
import torch

from exfm_ray.models import pieces
from exfm_ray.models.batch_norm import BatchNorm
from exfm_ray.models.build import seeded
from exfm_ray.models.dropout import Dropout
from exfm_ray.models.mlp import mlp
from exfm_ray.models.products import by_torch

ONES = torch.ones(200, 50)


def dropout(rate: float = 0.3, *, seed: int = 0, position: int = 0) -> Dropout:
    return seeded(lambda: Dropout(rate, position), seed, "model")


def test_layers_stand_in_the_published_order() -> None:
    layers = mlp(3, (4, 5), 1, dropout=0.1, batch_norm=True)
    one = ["Linear", "BatchNorm", "ReLU", "Dropout"]
    assert [type(layer).__name__ for layer in layers] == [*one, *one, "Linear"]
    assert [type(layer).__name__ for layer in mlp(3, (4,))] == ["Linear", "ReLU"]


def test_dropped_values_are_zero_and_the_others_keep_the_mean() -> None:
    kept = dropout(0.3)(ONES)
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (kept == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)  # 4 standard deviations


def test_a_mask_depends_on_seed_position_and_step_alone() -> None:
    layer, same = dropout(), dropout()
    for _ in range(3):
        expected = layer(ONES)
        torch.rand(7)  # what else trains in the process draws from the global generator
        assert torch.equal(same(ONES), expected)
    assert not torch.equal(layer(ONES), layer(ONES))
    assert not torch.equal(dropout()(ONES), dropout(seed=1)(ONES))
    assert not torch.equal(dropout()(ONES), dropout(position=1)(ONES))


def test_dropping_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Dropout(0.5, 0)(ONES)
    assert torch.equal(torch.rand(3), expected)


def test_the_state_of_dropout_is_its_seed_and_steps() -> None:
    layer, other = dropout(), dropout(seed=1)
    layer(ONES)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(ONES), layer(ONES))


def test_predicting_drops_nothing_and_is_no_step() -> None:
    layer, undisturbed = dropout(), dropout()
    assert layer.eval()(ONES) is ONES
    assert torch.equal(layer.train()(ONES), undisturbed(ONES))


def test_the_start_of_the_layers_is_the_same_with_and_without_dropout() -> None:
    plain = seeded(lambda: mlp(3, (4, 5), 1), 0, "model")
    dropped = seeded(lambda: mlp(3, (4, 5), 1, dropout=0.5), 0, "model")
    for one, other in zip(plain.parameters(), dropped.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_batch_is_normalized_by_its_own_mean_and_variance() -> None:
    layer = BatchNorm(2)
    normalized = layer(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
    torch.testing.assert_close(normalized, torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), rtol=0, atol=1e-4)
    torch.testing.assert_close(layer.running_mean, torch.tensor([0.2, 2.0]))


def test_one_row_is_normalized_as_in_predicting() -> None:
    layer = BatchNorm(2)
    layer(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
    row, mean = torch.tensor([[5.0, 6.0]]), layer.running_mean.clone()
    trained = layer.train()(row)
    assert torch.equal(trained, layer.eval()(row))
    assert torch.equal(layer.running_mean, mean)


@pytest.mark.parametrize(("rate", "zeros"), [(1e-9, 0), (1 - 1e-9, 100)])
def test_rates_next_to_none_and_to_all(rate: float, zeros: int) -> None:
    assert int((dropout(rate)(torch.ones(100)) == 0).sum()) == zeros


def test_the_masks_of_a_step_go_on_with_one_another() -> None:
    whole = dropout().next_step(torch.device("cpu")).mask((6, 4), torch.float64)
    pieces = dropout().next_step(torch.device("cpu"))
    assert torch.equal(torch.cat([pieces.mask((2, 4), torch.float64), pieces.mask((4, 4), torch.float64)]), whole)
    assert 0 < whole.sum() < whole.numel()


@pytest.mark.parametrize("rows", [0, 1, 7, 40])
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("outputs", [None, 1, 3])
def test_layers_computed_together_are_those_one_after_the_other(
    outputs: int | None, rate: float, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, derivatives and the masks of two steps, in pieces of four rows."""
    monkeypatch.setattr(pieces, "CPU_PIECE", 4)
    together, apart = (seeded(lambda: mlp(6, (8, 5), outputs, dropout=rate).double(), 1, "model") for _ in range(2))
    for step in range(2):
        x = torch.randn(rows, 6, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        found = together(one)
        with by_torch():
            expected = apart(other)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        (found.square().sum() + found.sum()).backward()
        (expected.square().sum() + expected.sum()).backward()
        for mine, theirs in zip([one, *together.parameters()], [other, *apart.parameters()], strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=0, atol=1e-11)


def test_layers_take_rows_of_rows() -> None:
    layers = seeded(lambda: mlp(3, (4,), 2), 0, "model")
    x = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layers(x), layers(x.flatten(0, 1)).view(5, 6, 2))
