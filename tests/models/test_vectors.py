"""Vectors read from the touched rows: as read from the table, with the gradient that autograd gives a dense one."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs, SequenceInput
from exfm_ray.models.lookup import Bags, Lookup
from exfm_ray.schema import Feature, Schema

ROWS = {"user": 7, "item": 5}


def schema(numeric: int = 2) -> Schema:
    features = [Feature(name=name, kind="categorical", rows=rows, encoding="identity") for name, rows in ROWS.items()]
    features += [Feature(name=f"number {index}", kind="numeric") for index in range(numeric)]
    features += [Feature(name=name, kind="sequence", shares="item") for name in ("bought", "seen")]
    return Schema(features=tuple(features), tasks=("click",), domains=("a",), stages=("later",))


def inputs(lengths: list[int], numeric: int = 2, seed: int = 0) -> Inputs:
    """A row per length; both sequences of a row are so long."""
    generator = np.random.default_rng(seed)
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def ids(rows: int, count: int) -> torch.Tensor:
        return torch.from_numpy(generator.integers(0, rows, count))

    return Inputs(
        torch.stack([ids(rows, len(lengths)) for rows in ROWS.values()], dim=1),
        torch.from_numpy(generator.normal(size=(len(lengths), numeric))),
        tuple(SequenceInput(ids(ROWS["item"], sum(lengths)), offsets) for _ in range(2)),
    )


def dense_fields(embedding: Embedding, table: torch.Tensor, batch: Inputs, pooled: list[int]) -> torch.Tensor:
    """Row by row, in operations that autograd knows."""
    rows = []
    for row in range(len(batch)):
        parts = [table[start + batch.categorical[row, i]] for i, start in enumerate(embedding.layout.categorical)]
        if embedding.numeric is not None:
            parts += list(batch.numeric[row].unsqueeze(1) * embedding.numeric)
        for index in pooled:
            history = batch.sequences[index].rows(row, row + 1).values + embedding.layout.sequences[index]
            total = table[history].sum(dim=0)
            parts.append(total / max(len(history), 1) if embedding.pooling == "mean" else total)
        rows.append(torch.stack(parts))
    return torch.stack(rows)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    numeric=st.integers(0, 2),
    share=st.booleans(),
    pooling=st.sampled_from(["mean", "sum"]),
    pooled=st.sampled_from([[], [0], [1], [0, 1]]),
    seed=st.integers(0, 1_000),
)
def test_fields_and_their_gradients(
    lengths: list[int], numeric: int, share: bool, pooling: str, pooled: list[int], seed: int
) -> None:
    embedding = Embedding(schema(numeric), 3, share=share, pooling=pooling).double()
    torch.nn.init.normal_(embedding.table)
    batch = inputs(lengths, numeric, seed)
    table = embedding.table.detach().clone().requires_grad_()
    expected = dense_fields(embedding, table, batch, pooled)
    read = embedding.vectors(batch).fields(pooled)
    with torch.no_grad():
        torch.testing.assert_close(embedding.vectors(batch).fields(pooled), expected)
    torch.testing.assert_close(read, expected)

    weights = torch.from_numpy(np.random.default_rng(seed).normal(size=expected.shape))
    parameters = [embedding.numeric] if embedding.numeric is not None else []
    gradient, *of_numeric = torch.autograd.grad((read * weights).sum(), [embedding.table, *parameters])
    wanted, *wanted_of_numeric = torch.autograd.grad((expected * weights).sum(), [table, *parameters])
    assert gradient.is_sparse
    assert gradient.is_coalesced()
    touched = Lookup.of(batch, embedding.layout).rows
    assert gradient.indices()[0].tolist() == touched.tolist() == sorted(set(touched.tolist()))
    torch.testing.assert_close(gradient.to_dense(), wanted)
    torch.testing.assert_close(of_numeric, wanted_of_numeric)


def test_elements_and_fields_share_one_gradient() -> None:
    embedding = Embedding(schema(), 3).double()
    batch = inputs([2, 0, 3])
    vectors = embedding.vectors(batch)
    fields, elements = vectors.fields([1]), vectors.elements([0, 1])
    assert elements.shape == (5, 6)
    with torch.no_grad():
        assert torch.equal(elements, embedding.vectors(batch).elements([0, 1]))
    table = embedding.table.detach().clone().requires_grad_()
    places = [sequence.values + embedding.layout.sequences[0] for sequence in batch.sequences]
    expected = functional.embedding(torch.stack(places, dim=1), table).flatten(1)
    loss = dense_fields(embedding, table, batch, [1]).square().sum() + expected.pow(3).sum()
    (gradient,) = torch.autograd.grad(fields.square().sum() + elements.pow(3).sum(), [embedding.table])
    torch.testing.assert_close(gradient.to_dense(), torch.autograd.grad(loss, [table])[0])


def test_a_batch_without_any_element() -> None:
    embedding = Embedding(schema(), 3).double()
    vectors = embedding.vectors(inputs([0, 0]))
    (vectors.fields().sum() + vectors.elements([0, 1]).sum()).backward()
    assert embedding.table.grad is not None
    assert embedding.table.grad.to_dense().abs().sum() > 0


@settings(max_examples=60, deadline=None)
@given(bags=st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=8))
def test_transposed_bags_say_by_vector_which_sums_it_is_in(bags: list[list[int]]) -> None:
    offsets = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])]).astype(np.int32)
    places = torch.tensor([place for bag in bags for place in bag], dtype=torch.int32)
    made = Bags(places, torch.from_numpy(offsets))
    expected = [[index for index, bag in enumerate(bags) for place in bag if place == vector] for vector in range(10)]
    for turned in (made.transposed(10), made.transposed_by_sorting(10)):
        ends = turned.offsets.tolist()
        found = [turned.places[a:b].tolist() for a, b in pairwise(ends)]
        assert found == expected
        assert turned.places.dtype == turned.offsets.dtype == torch.int32


def test_models_of_one_layout_share_a_batch_s_rows() -> None:
    one, other = Embedding(schema(), 3), Embedding(schema(), 5)
    batch = inputs([1, 2])
    assert Lookup.of(batch, one.layout) is Lookup.of(batch, other.layout)
    assert Lookup.of(batch.rows(0, 1), one.layout) is not Lookup.of(batch, one.layout)
    own = Embedding(schema(), 1, share=False)
    assert Lookup.of(batch, own.layout) is not Lookup.of(batch, one.layout)


@pytest.mark.parametrize("place", [torch.device("cpu"), torch.device("meta")])
def test_what_is_found_moves_with_the_batch(place: torch.device) -> None:
    embedding = Embedding(schema(), 3).double()
    batch = inputs([1, 2])
    Lookup.of(batch, embedding.layout).sums_over_fields(2, (0, 1))
    moved = batch.to(place)
    assert Lookup.of(moved, embedding.layout).rows.device == place
    assert (moved is batch) == (place.type == "cpu")
