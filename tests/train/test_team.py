"""Two workers that train one model together hold equal replicas, which are those of one worker but for rounding."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from exfm_ray.config import DcnV2Model, DminModel, ModelConfig, OptimizerConfig
from exfm_ray.config.models import whole_batch_field
from exfm_ray.data.batches import Batch
from exfm_ray.distill.step import train_step
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import SequenceInput
from exfm_ray.models.model import Model
from exfm_ray.schema import Feature, Schema
from exfm_ray.train.foundation import train_batch
from exfm_ray.train.optimizers import build_optimizers
from exfm_ray.train.team import ALONE, CPU, Team
from tests.distill.test_distill import BATCH, GROUPS, MODELS, batches, student

State = dict[str, torch.Tensor]
NAN = float("nan")
SCHEMA = Schema(
    features=(
        Feature(name="user", kind="categorical", rows=50),
        Feature(name="item", kind="categorical", rows=30),
        Feature(name="hour", kind="categorical", rows=24, encoding="identity"),
        Feature(name="price", kind="numeric"),
        Feature(name="history", kind="sequence", shares="item"),
    ),
    tasks=("click", "like"),
    domains=("a",),
    stages=("later",),
)
SHARED = [model for model in MODELS if whole_batch_field(model) is None]
FMS = [DcnV2Model(embedding_dim=4, hidden=(8,)), DminModel(embedding_dim=4, heads=2, groups=GROUPS, hidden=(8,))]


def whole_batches() -> list[Batch]:
    """The last two are smaller, as those of days are; the very last has fewer rows than there are workers."""
    whole = [Batch(inputs, label.unsqueeze(1), fm_prob.unsqueeze(1)) for inputs, label, fm_prob in batches(4)]
    return [*whole, whole[0].rows(3, 8), whole[1].rows(0, 1)]


def vm_state(model: ModelConfig, team: Team) -> State:
    """Of a student in training by `ah_sa`, which has all heads and the adapter."""
    made = student(model, "ah_sa", SCHEMA)
    optimizers = build_optimizers(
        OptimizerConfig(embedding="adagrad"), made.dense_parameters(), made.table_parameters()
    )
    adapter = torch.optim.Adam(made.adapter_parameters(), lr=0.01)
    for batch in whole_batches():
        part = team.part(batch)
        assert part.batch.fm_probs is not None
        label, fm_prob = part.batch.labels[:, 0], part.batch.fm_probs[:, 0]

        def complete(some: Any, share: float = part.share) -> None:
            team.sum_gradients(some, share)

        train_step(made, part.batch.inputs, label, fm_prob, list(optimizers.values()), adapter, complete=complete)
    team.check_equal(made)
    return left_by(made, made.model)


def fm_state(model: ModelConfig, team: Team) -> State:
    """Of an FM in training on labels that are lacking unevenly, and on histories that only the first rows have."""
    made = seeded(lambda: build_model(model, SCHEMA, 2), 5, "fm")
    optimizers = build_optimizers(OptimizerConfig(), made.dense_parameters(), made.table_parameters())
    for batch in whole_batches():
        (history,) = batch.inputs.sequences
        first = len(batch) // 2
        kept = int(history.offsets[first])
        cut = SequenceInput(history.values[:kept], history.offsets.clamp(max=kept))
        labels = torch.cat([batch.labels, 1 - batch.labels], dim=1)
        labels[: len(batch) // 4, 0] = NAN
        labels[:, 1] = NAN if len(batch) == 5 else labels[:, 1]
        shaped = Batch(replace(batch.inputs, sequences=(cut,), lookups={}), labels, None)
        train_batch(made, shaped, list(optimizers.values()), CPU, team=team)
    team.check_equal(made)
    return left_by(made, made)


@torch.no_grad()
def left_by(trained: torch.nn.Module, model: Model) -> State:
    """Parameters, and what the model predicts with them."""
    trained.eval()
    return trained.state_dict() | {"predicted": torch.sigmoid(model(whole_batches()[0].inputs))}


def states(team: Team) -> dict[str, State]:
    made = {f"vm {index}": vm_state(model, team) for index, model in enumerate(SHARED)}
    return made | {f"fm {index}": fm_state(model, team) for index, model in enumerate(FMS)}


def one_worker(worker: int, meeting: str, out: str) -> None:
    """What one of two processes does."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=worker, world_size=2)
    team = Team(worker, 2)
    left: dict[str, Any] = {"states": states(team)}
    left["agreed"] = team.agreed({"seen by": worker})
    left["summed"] = team.summed(np.array([0.0, 1.0, worker], dtype=np.float32)).tolist()
    model = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(model.weight, 0.5)
    torch.nn.init.constant_(model.bias, worker)
    for what, check in {
        "parameters": lambda: team.check_equal(model),
        "counts": lambda: team.check_equal(torch.nn.Identity(), 3, 4 + worker),
    }.items():
        left[what] = told(check)
    team.meet()
    torch.save(left, Path(out) / f"{worker}.pt")


def told(check: Callable[[], None]) -> str:
    try:
        check()
    except RuntimeError as error:
        return str(error)
    return "nothing"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two workers holds in the end."""
    out = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(one_worker, (str(out / "meeting"), str(out)), nprocs=2)  # type: ignore[no-untyped-call]
    return [torch.load(out / f"{worker}.pt") for worker in range(2)]


@pytest.fixture(scope="module")
def one() -> dict[str, State]:
    torch.set_num_threads(1)
    return states(ALONE)


WITHOUT_EFFECT = ".attention."
"""What shifts all scores of a softmax alike changes nothing: gradients of some parameters that make the scores are
rounding alone, and so is where Adam moves them."""
CASES = [f"vm {index}" for index in range(len(SHARED))] + [f"fm {index}" for index in range(len(FMS))]


@pytest.mark.parametrize("case", CASES)
def test_replicas_are_equal_and_those_of_one_worker_but_for_rounding(
    case: str, two: list[dict[str, Any]], one: dict[str, State]
) -> None:
    first, second = (left["states"][case] for left in two)
    start = (vm_start if case.startswith("vm") else fm_start)(int(case.split()[1]))
    moved = 0
    for name, values in one[case].items():
        assert torch.equal(first[name], second[name]), name
        if not values.is_floating_point() or WITHOUT_EFFECT in name:
            continue
        torch.testing.assert_close(
            first[name], values, rtol=1e-4, atol=1e-5, msg=lambda told, name=name: f"{name}: {told}"
        )
        moved += name in start and not torch.equal(values, start[name])
    assert moved > 3, "training has changed the model"


def vm_start(index: int) -> State:
    return student(SHARED[index], "ah_sa", SCHEMA).state_dict()


def fm_start(index: int) -> State:
    return seeded(lambda: build_model(FMS[index], SCHEMA, 2), 5, "fm").state_dict()


def test_workers_agree_on_what_the_first_has_seen(two: list[dict[str, Any]]) -> None:
    assert [left["agreed"] for left in two] == [{"seen by": 0}] * 2
    assert [left["summed"] for left in two] == [[0.0, 2.0, 1.0]] * 2


def test_replicas_that_differ_are_noticed_by_all(two: list[dict[str, Any]]) -> None:
    differ = "the 2 workers of one model hold different states of it"
    assert [(left["parameters"], left["counts"]) for left in two] == [(differ, differ)] * 2


@pytest.mark.parametrize("rows", [1, 2, 3, 5, BATCH])
def test_every_row_counts_once(rows: int) -> None:
    batch = whole_batches()[0].rows(0, rows)
    parts = [Team(worker, 3).part(batch) for worker in range(3)]
    assert sum(part.share for part in parts) == pytest.approx(1)
    counted = [row for part in parts if part.share for row in range(part.start, part.stop)]
    assert counted == list(range(rows))
    assert all(len(part.batch) == part.stop - part.start > 0 for part in parts)


def test_a_table_has_gradients_of_the_same_rows_in_every_part_and_they_add_up() -> None:
    batch = whole_batches()[0]
    embedding = Embedding(SCHEMA, 4)
    weight = torch.randn(BATCH, embedding.fields, 4)
    (embedding(batch.inputs) * weight).sum().backward()
    assert embedding.table.grad is not None
    whole, total = embedding.table.grad.coalesce(), 0
    for worker in range(3):
        part = Team(worker, 3).part(batch)
        embedding.table.grad = None
        (embedding(part.batch.inputs) * weight[part.start : part.stop]).sum().backward()
        own = embedding.table.grad.coalesce()
        assert torch.equal(own.indices(), whole.indices())
        total = total + own.values()
    torch.testing.assert_close(total, whole.values())
