"""Variants of one structure trained as one wider model: tables side by side, matrix products batched.

    stack = Stack(variants)
    for part in parts:
        stack.train(part)
    stack.put_back()

K small models leave most of a GPU empty, one after the other; side by side they fill K times as much of it. Their
embedding tables are one whose vectors have K·D numbers, so a batch's rows are gathered once; every other parameter has
a dimension more, along which torch.func maps the loss of one. What sets variants apart must be numbers: seed, learning
rates, α, β and w. They give the numbers of variants that train by themselves within the rounding of float32.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.optim import Optimizer

from exfm_ray.config import VariantConfig
from exfm_ray.distill.losses import adapter_loss, student_loss
from exfm_ray.distill.student import Student
from exfm_ray.models.embedding import Embedding
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.lookup import Lookup
from exfm_ray.models.precision import multiplied_in
from exfm_ray.models.products import by_torch
from exfm_ray.models.vectors import TouchedVectors
from exfm_ray.train.optimizers import build_adapter_optimizer, build_optimizers
from exfm_ray.train.table_optimizers import TouchedRowsOptimizer
from exfm_ray.train.team import Part
from exfm_ray.train.variant import Variant

Tensors = dict[str, torch.Tensor]

STACKABLE = ("fam", "deepfam", "dcn", "dcnv2", "fmfam")
"""models that read all their vectors as fields"""


def structure(config: VariantConfig) -> tuple[Any, ...] | None:
    """Equal for variants that can be stacked; None where one cannot be: it says so, or its steps draw masks, keep
    statistics of batches, read elements of histories or are compiled."""
    vm, optimizer = config.vm, config.vm.optimizer
    model = vm.model.model_dump()
    alone = optimizer.compile or optimizer.precision == "bf16" or vm.model.type not in STACKABLE
    if not optimizer.stack or alone or model.get("dropout") or model.get("batch_norm"):
        return None
    adapter = vm.distill.adapter.model_dump(exclude={"learning_rate"})
    return repr(model), config.method, vm.distill.head_hidden, repr(adapter), optimizer.embedding, optimizer.precision


def stacks_of(variants: Sequence[Variant]) -> tuple[list[int], list[list[int]]]:
    """Places of variants that train by themselves, and of those that are stacked together, at least two each."""
    together: dict[tuple[Any, ...], list[int]] = {}
    alone = []
    for place, variant in enumerate(variants):
        found = structure(variant.config) if variant.team.workers == 1 else None
        together.setdefault(found, []).append(place) if found is not None else alone.append(place)
    alone += [places[0] for places in together.values() if len(places) == 1]
    return sorted(alone), [places for places in together.values() if len(places) > 1]


class _Given(nn.Module):
    """In the place of an embedding, whose vectors the stack has read."""

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.fields = fields
        self.vectors = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        return self.vectors

    def start(self, inputs: Inputs, outputs: int) -> tuple[torch.Tensor, None]:
        return self.vectors.flatten(1), None


@dataclass(frozen=True)
class _Scales:
    """α, β and w of one of the variants, in the place of its settings."""

    label_scale: torch.Tensor
    grad_scale: torch.Tensor
    loss_weight: torch.Tensor


class _Loss(nn.Module):
    """The loss of one variant as a function of its parameters."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, what: str, batch: tuple[Any, ...], scales: _Scales) -> torch.Tensor:
        if what == "adapter":
            return adapter_loss(self.student, *batch)
        self.student.distill = scales  # type: ignore[assignment]
        return student_loss(self.student, *batch)


class Stack:
    """K variants of one structure for as long as they train on a day; `put_back` gives them what they have learned.

    Args:
        variants: at least one; their parameters and optimizers' states are copied.
    """

    def __init__(self, variants: Sequence[Variant]) -> None:
        self.variants = list(variants)
        self.vm, self.method = variants[0].vm, variants[0].method
        first = variants[0].student
        self._embeddings = {name: part for name, part in first.named_modules() if isinstance(part, Embedding)}
        # what stands for an embedding is copied in its place, and the tables are not
        given: dict[int, Any] = {id(part): _Given(part.fields) for part in self._embeddings.values()}
        self._loss = _Loss(deepcopy(first, given)).train()
        named = [dict(variant.student.named_parameters()) for variant in variants]
        tables = [f"{name}.table" for name in self._embeddings]
        self._tables = {name: nn.Parameter(_in_turn([each[name].data for each in named])) for name in tables}
        others = [name for name in named[0] if name not in tables]
        self._dense = {name: nn.Parameter(torch.stack([each[name].data for each in named])) for name in others}
        self._scales = _Scales(*(self._numbers(field) for field in _Scales.__annotations__))
        self._build_optimizers()
        self._take_states()

    def train(self, part: Part) -> None:
        """One step of Algorithm 1 in each variant.

        Args:
            part: a whole batch, on the variants' device.
        """
        batch = part.batch
        label = batch.labels[:, 0]
        fm_prob = None if batch.fm_probs is None or self.method == "none" else batch.fm_probs[:, 0]
        if "adapter" in self._optimizers:
            self._learn("adapter", (fm_prob, label), {})
            self._step("adapter")
        vectors = {f"{name}.vectors": self._vectors(name, batch.inputs) for name in self._embeddings}
        with multiplied_in(self.vm.optimizer.precision):
            self._learn("student", (batch.inputs, label, fm_prob), vectors)
        self._step("dense")
        for name, table in self._tables.items():
            table.grad = _rows_in_turn(self._wide[name].grad, table.shape)
        self._optimizers["tables"].step()
        for parameter in (*self._dense.values(), *self._wide.values()):
            parameter.grad = None

    def put_back(self) -> None:
        """Parameters and optimizers' states into the variants."""
        for place, variant in enumerate(self.variants):
            own = dict(variant.student.named_parameters())
            for name, stacked in (self._tables | self._dense).items():
                own[name].data.copy_(self._part(name, stacked.data, place))
            for kind, optimizer in variant.all_optimizers().items():
                for name in self._names[kind]:
                    states = self._optimizers[kind].state[self._parameter(name)]
                    optimizer.state[own[name]] = {k: self._part(name, v, place).clone() for k, v in states.items()}

    def _learn(self, what: str, batch: tuple[Any, ...], vectors: Tensors) -> None:
        """Gradients of all variants' losses; none of one's reaches another's parameters."""
        with by_torch():
            losses = vmap(lambda own, scales: self._loss_of(what, batch, own, scales))(
                self._dense | vectors, vars(self._scales)
            )
        losses.sum().backward()  # type: ignore[no-untyped-call]

    def _loss_of(
        self, what: str, batch: tuple[Any, ...], own: Tensors, scales: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        parameters = {f"student.{name}": value for name, value in own.items()}
        found: torch.Tensor = functional_call(self._loss, parameters, (what, batch, _Scales(**scales)))
        return found

    def _vectors(self, name: str, inputs: Inputs) -> torch.Tensor:
        """(K, B, F, D)"""
        embedding = self._embeddings[name]
        numeric = self._dense.get(f"{name}.numeric")
        side_by_side = None if numeric is None else numeric.movedim(0, 1).flatten(1)
        lookup = Lookup.of(inputs, embedding.layout)
        read = TouchedVectors(inputs, self._wide[f"{name}.table"], side_by_side, embedding.pooling, lookup)
        fields = read.fields()
        return fields.view(*fields.shape[:2], len(self.variants), -1).movedim(2, 0)

    def _step(self, kind: str) -> None:
        """At a rate of 1, of which each variant then goes its own part: a step is its rate times what that one is."""
        parameters = [self._dense[name] for name in self._names[kind]]
        before = [parameter.data.clone() for parameter in parameters]
        self._optimizers[kind].step()
        for name, parameter, old in zip(self._names[kind], parameters, before, strict=True):
            rates = self._rates[name].view(-1, *[1] * (parameter.dim() - 1))
            torch.lerp(old, parameter.data, rates, out=parameter.data)

    def _build_optimizers(self) -> None:
        optimizer = self.vm.optimizer.model_copy(update={"learning_rate": 1.0})
        names = {id(parameter): name for name, parameter in self.variants[0].student.named_parameters()}
        self._names = {
            kind: [names[id(parameter)] for group in one.param_groups for parameter in group["params"]]
            for kind, one in self.variants[0].all_optimizers().items()
        }
        self._optimizers: dict[str, Optimizer] = build_optimizers(
            optimizer, [self._dense[name] for name in self._names["dense"]], self._tables.values()
        )
        if "adapter" in self._names:
            adapter = self.vm.distill.adapter.model_copy(update={"learning_rate": 1.0})
            self._optimizers["adapter"] = build_adapter_optimizer(
                adapter, [self._dense[name] for name in self._names["adapter"]]
            )
        tables = self._optimizers["tables"]
        assert isinstance(tables, TouchedRowsOptimizer)
        rates = [variant.vm.optimizer.table_rate for variant in self.variants]
        tables.param_groups[0]["lr"] = torch.tensor(rates, device=self.variants[0].device)
        dense = [(kind, name) for kind, names in self._names.items() if kind != "tables" for name in names]
        self._rates = {name: self._rates_of(kind, name) for kind, name in dense}
        # the same numbers with a batch's vectors of all variants side by side: what is read, and gets the gradient
        self._wide = {
            name: nn.Parameter(table.data.view(-1, len(self.variants) * table.shape[1]))
            for name, table in self._tables.items()
        }

    def _rates_of(self, kind: str, name: str) -> torch.Tensor:
        """(K,) learning rates of a parameter in the variants."""
        place = self._names[kind].index(name)
        rates = [
            [group["lr"] for group in variant.all_optimizers()[kind].param_groups for _ in group["params"]][place]
            for variant in self.variants
        ]
        return torch.tensor(rates, device=self.variants[0].device)

    def _take_states(self) -> None:
        """Those that the variants' optimizers have after their last day; before the first one they have none."""
        own = [dict(variant.student.named_parameters()) for variant in self.variants]
        for kind, optimizer in self._optimizers.items():
            theirs = [variant.all_optimizers()[kind].state for variant in self.variants]
            for name in self._names[kind]:
                states = [state.get(each[name], {}) for state, each in zip(theirs, own, strict=True)]
                if all(states):
                    together = {key: self._together(name, [state[key] for state in states]) for key in states[0]}
                    optimizer.state[self._parameter(name)] = together

    def _parameter(self, name: str) -> nn.Parameter:
        return self._tables[name] if name in self._tables else self._dense[name]

    def _together(self, name: str, values: Sequence[torch.Tensor]) -> torch.Tensor:
        """Of the variants; a count of steps is the same in all."""
        if values[0].dim() == 0:
            return values[0].clone()
        return _in_turn(values) if name in self._tables else torch.stack(list(values))

    def _part(self, name: str, stacked: torch.Tensor, place: int) -> torch.Tensor:
        """Of one variant."""
        if stacked.dim() == 0:
            return stacked
        return stacked[place :: len(self.variants)] if name in self._tables else stacked[place]

    def _numbers(self, field: str) -> torch.Tensor:
        numbers = [getattr(variant.vm.distill, field) for variant in self.variants]
        return torch.tensor(numbers, dtype=torch.float32, device=self.variants[0].device)


def _in_turn(tables: Sequence[torch.Tensor]) -> torch.Tensor:
    """K tables (R, D) as one whose rows are theirs in turn: (R·K, D)"""
    return torch.stack(list(tables), dim=1).flatten(0, 1)


def _rows_in_turn(gradient: torch.Tensor | None, shape: torch.Size) -> torch.Tensor:
    """A sparse gradient of rows of K·D numbers as one of K times as many rows of D."""
    assert gradient is not None
    rows, values = gradient._indices()[0], gradient._values()
    count = values.shape[1] // shape[1]
    each = (rows.unsqueeze(1) * count + torch.arange(count, device=rows.device)).flatten()
    return torch.sparse_coo_tensor(
        each.unsqueeze(0),
        values.reshape(-1, shape[1]),
        shape,
        is_coalesced=gradient.is_coalesced(),
        check_invariants=False,
    )
