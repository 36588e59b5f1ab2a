"""Vectors that are made once and meet later give what the forward pass gives."""

import pytest
import torch

from exfm_ray.config import TwoTowerModel
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.two_tower import TwoTower
from exfm_ray.schema import Schema

ROWS = 12


@pytest.fixture
def model(small_schema: Schema) -> TwoTower:
    torch.manual_seed(0)
    config = TwoTowerModel(embedding_dim=4, hidden=(8,), tower_dim=6, item_fields=("item", "price"))
    model = TwoTower(config, small_schema).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def test_users_and_items_that_meet_are_the_rows_of_their_pairs(model: TwoTower) -> None:
    user, item, hour = torch.arange(ROWS), torch.arange(ROWS) + 7, torch.arange(ROWS) % 24
    price = torch.linspace(-1, 1, ROWS)
    everyone = torch.cartesian_prod(torch.arange(ROWS), torch.arange(ROWS))
    of_user, of_item = everyone[:, 0], everyone[:, 1]
    costly = torch.zeros(ROWS)
    with torch.no_grad():
        pairs = Inputs(
            torch.stack([user[of_user], item[of_item], hour[of_user]], dim=1),
            torch.stack([price[of_item], costly[of_user]], dim=1),
            (SequenceInput(user[of_user] % 30, torch.arange(len(everyone) + 1)),),
        )
        sides = Inputs(
            torch.stack([user, item, hour], dim=1),
            torch.stack([price, costly], dim=1),
            (SequenceInput(user % 30, torch.arange(ROWS + 1)),),
        )
        met = model.meet(model.user_vectors(sides), model.item_vectors(sides))
        rows = model(pairs).view(ROWS, ROWS)
    torch.testing.assert_close(met, rows, rtol=1e-5, atol=1e-5)
    assert float(rows.std()) > 0.1


def test_a_tower_reads_its_own_fields_only(model: TwoTower) -> None:
    user, item, hour = torch.arange(ROWS), torch.arange(ROWS), torch.arange(ROWS)
    price = torch.linspace(-1, 1, ROWS)
    base = Inputs(
        torch.stack([user, item, hour], dim=1),
        torch.stack([price, price], dim=1),
        (SequenceInput(user, torch.arange(ROWS + 1)),),
    )
    other_items = Inputs(
        torch.stack([user, item + 1, hour], dim=1), torch.stack([price + 1, price], dim=1), base.sequences
    )
    other_users = Inputs(
        torch.stack([user + 1, item, hour + 1], dim=1), torch.stack([price, price + 1], dim=1), base.sequences
    )
    with torch.no_grad():
        assert torch.equal(model.user_vectors(base), model.user_vectors(other_items))
        assert torch.equal(model.item_vectors(base), model.item_vectors(other_users))
        assert not torch.equal(model.user_vectors(base), model.user_vectors(other_users))
        assert not torch.equal(model.item_vectors(base), model.item_vectors(other_items))
        product = (model.user_vectors(base) * model.item_vectors(base)).sum(dim=1, keepdim=True) + model.bias
        assert torch.equal(model(base), product)
