"""Scores of elements and functions of histories, computed in pieces, against the same computed whole."""

import copy

import pytest
import torch
from torch.nn import functional

from exfm_ray.config import DminModel, InterestGroup
from exfm_ray.models.dropout import Dropout
from exfm_ray.models.histories import Histories, LongestFirst
from exfm_ray.models.interests import TargetAttention
from tests.models.test_dmin import offsets_of, wide

LENGTHS = [7, 0, 1, 5, 5, 3, 0, 2, 9]
DIM = 4


@pytest.fixture(params=[1, 4, 11, 512])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("exfm_ray.models.pieces.CPU_PIECE", request.param)
    return int(request.param)


def attention(**changes: object) -> TargetAttention:
    group = InterestGroup(targets=("item",), sequences=("items",))
    fields = {"groups": (group,), "attention_hidden": (16, 12, 8), "max_length": 6}
    return wide(TargetAttention(DIM, DminModel.model_validate(fields | changes)))


def target_and_history() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    shapes = (len(LENGTHS), DIM), (sum(LENGTHS), DIM)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def whole(part: TargetAttention, target: torch.Tensor, history: torch.Tensor, histories: Histories) -> torch.Tensor:
    """The layers of the module as they stand, on what the paper concatenates."""
    read = target[histories.row]
    if part.project is not None:
        read = part.project(torch.cat([read, part.positions[histories.position.clamp(max=5)]], dim=1))
    scores = part.rest(part.first(torch.cat([read, history, read - history, read * history], dim=1))).squeeze(1)
    rows = [functional.softmax(row, dim=0) for row in scores.split(LENGTHS)]
    return torch.stack([row @ z for row, z in zip(rows, history.split(LENGTHS), strict=True)])


@pytest.mark.parametrize("changes", [{}, {"position_dim": 3}, {"position_dim": 3, "attention_dropout": 0.4}])
def test_pieces_equal_the_whole_with_all_gradients(changes: dict[str, object], piece: int) -> None:
    part, histories = attention(**changes), Histories.of(offsets_of(LENGTHS))
    other = copy.deepcopy(part)
    inputs, same = target_and_history(), target_and_history()
    results = part(*inputs, histories), whole(other, *same, histories)
    torch.testing.assert_close(*results, rtol=0, atol=1e-10)
    weights = torch.randn(results[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = torch.autograd.grad((results[0] * weights).sum(), [*inputs, *part.parameters()])
    theirs = torch.autograd.grad((results[1] * weights).sum(), [*same, *other.parameters()])
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-9)


def test_dropout_drops_in_pieces_what_it_would_drop_at_once() -> None:
    """So the test above compares masks; and a step counts once, however many its pieces are."""
    part, histories = attention(attention_dropout=0.4), Histories.of(offsets_of(LENGTHS))
    inputs = target_and_history()
    first, second = part(*inputs, histories), part(*inputs, histories)
    assert not torch.equal(first, second)
    assert {layer.steps for layer in part.rest if isinstance(layer, Dropout)} == {2}


def test_without_gradients_the_scores_are_the_same(piece: int) -> None:
    part, histories = attention(position_dim=3), Histories.of(offsets_of(LENGTHS))
    with torch.no_grad():
        alone = part(*target_and_history(), histories)
    assert torch.equal(alone, part(*target_and_history(), histories))


@pytest.mark.parametrize("lengths", [LENGTHS, [4, 4, 4], [1]])
def test_blocks_give_each_element_what_its_own_history_gives(lengths: list[int], piece: int) -> None:
    """Of a function that lets no element see a later one, a running sum."""
    elements = torch.arange(1.0, sum(lengths) * 2 + 1).view(-1, 2).requires_grad_()
    sums, doubled = Histories.of(offsets_of(lengths)).in_blocks(lambda block: (block.cumsum(1), 2 * block), elements)
    expected = torch.cat([history.cumsum(0) for history in elements.split(lengths)])
    assert torch.equal(sums, expected)
    assert torch.equal(doubled, 2 * elements)
    weights = torch.arange(1.0, sums.numel() + 1).view_as(sums)
    (ours,) = torch.autograd.grad((sums * weights).sum(), elements)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), elements)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("lengths", [LENGTHS, [4, 4, 4]])
def test_longest_first_and_back(lengths: list[int]) -> None:
    ordered = LongestFirst.of(offsets_of(lengths))
    assert ordered.histories.lengths.tolist() == sorted(lengths, reverse=True)
    rows = torch.arange(len(lengths))
    assert ordered.back(ordered.of_rows(rows)).tolist() == rows.tolist()
    owners = ordered.of_elements(torch.repeat_interleave(torch.tensor(lengths)))
    assert owners.tolist() == ordered.of_rows(rows)[ordered.histories.row].tolist()
    places = ordered.of_elements(Histories.of(offsets_of(lengths)).position)
    assert places.tolist() == ordered.histories.position.tolist()
