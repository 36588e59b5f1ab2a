"""A model that grows to larger vocabularies keeps what it has learned."""

from typing import Literal

import pytest
import torch

from exfm_ray.config import (
    DcnV2Model,
    DeepFamModel,
    DlrmModel,
    DminModel,
    FmFamModel,
    InterestGroup,
    ModelConfig,
    OptimizerConfig,
)
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.model import Model
from exfm_ray.schema import Feature, Schema
from exfm_ray.train.growth import grow
from exfm_ray.train.optimizers import build_optimizers

CONFIGS: list[ModelConfig] = [
    FmFamModel(embedding_dim=4),
    DeepFamModel(embedding_dim=4, hidden=(8,)),
    DcnV2Model(embedding_dim=4, hidden=(8,)),
    DlrmModel(embedding_dim=4, top_hidden=(8,)),
    DminModel(embedding_dim=4, groups=(InterestGroup(targets=("item",), sequences=("history",)),)),
]


def schema(users: int, items: int) -> Schema:
    return Schema(
        features=(
            Feature(name="user", kind="categorical", rows=users, encoding="counted"),
            Feature(name="hour", kind="categorical", rows=2, encoding="identity"),
            Feature(name="item", kind="categorical", rows=items, encoding="counted"),
            Feature(name="history", kind="sequence", shares="item"),
        ),
        tasks=("click",),
        domains=("a",),
        stages=("later",),
    )


def test_rows_are_appended_before_the_last_one() -> None:
    small, large = (Embedding(sizes, 3, share=False) for sizes in (schema(3, 2), schema(5, 4)))
    # user 3 → 5, hour 2 → 2, item 2 → 4, and the history's own table 2 → 4
    places = small.places_in(large)
    assert places.tolist() == [0, 1, 4, 5, 6, 7, 10, 11, 14]
    learned, new = small.table.detach().clone(), large.table.detach().clone()
    small.grow_to(large, places)
    assert torch.equal(small.table[places], learned)
    others = [2, 3, 8, 9, 12, 13]
    assert torch.equal(small.table[others], new[others])
    assert small.layout.categorical == (0, 5, 7)
    assert small.layout.sequences == (11,)
    assert small.places_in(large).tolist() == list(range(15))


def rows(users: list[int], items: list[int]) -> Inputs:
    categorical = torch.tensor([users, [0] * len(users), items]).T
    offsets = torch.tensor([0, *range(1, len(items) + 1)])
    return Inputs(categorical, torch.zeros(len(users), 0), (SequenceInput(torch.tensor(items), offsets),))


@pytest.mark.parametrize("embedding", ["rowwise_adagrad", "adagrad", "lazy_adam"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_training_goes_on_as_if_the_new_rows_had_always_been_there(
    config: ModelConfig, embedding: Literal["rowwise_adagrad", "adagrad", "lazy_adam"]
) -> None:
    """A model that grew and one as large from the start, equal but for rows that nothing has touched: equal steps."""
    settings = OptimizerConfig(embedding=embedding)

    def built(users: int, items: int) -> Model:
        return seeded(lambda: build_model(config, schema(users, items), 1), 0, "model")

    def step(model: Model, optimizers: dict[str, torch.optim.Optimizer], inputs: Inputs) -> None:
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        model(inputs).square().sum().backward()
        for optimizer in optimizers.values():
            optimizer.step()

    grown, reference = built(4, 3), built(6, 7)
    others = {name: tensor.clone() for name, tensor in grown.state_dict().items()}
    modules = {name: module for name, module in grown.named_modules() if isinstance(module, Embedding)}
    for name, module in reference.named_modules():
        if isinstance(module, Embedding):
            places = modules[name].places_in(module)
            others[f"{name}.table"] = module.table.detach().index_copy(0, places, others[f"{name}.table"])
    reference.load_state_dict(others)
    optimizers = [build_optimizers(settings, m.dense_parameters(), m.table_parameters()) for m in (grown, reference)]
    # the unknown user and item stand in the last row of each table
    step(grown, optimizers[0], rows([1, 2, 3, 3], [1, 2, 1, 2]))
    step(reference, optimizers[1], rows([1, 2, 5, 5], [1, 6, 1, 6]))
    grow(grown, optimizers[0]["tables"], lambda: build_model(config, schema(6, 7), 1), 0, "model")
    for _ in range(2):
        later = rows([1, 3, 5, 4], [5, 6, 1, 3])
        step(grown, optimizers[0], later)
        step(reference, optimizers[1], later)
    state, expected = grown.state_dict(), reference.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())
