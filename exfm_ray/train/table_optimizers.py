"""Optimizers of embedding tables: a step reads and writes the rows that the batch touched, and no other.

Gradients are sparse, (R, D) with U rows given, as `models.vectors` makes them. A row that no batch touches keeps its
value and its state, so Adam is the lazy kind. The cost of a step does not grow with R.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim import Optimizer

EPSILON_ADAGRAD = 1e-10
EPSILON_ADAM = 1e-8
BETAS = (0.9, 0.999)
PIECE_ROWS = 4_096
"""of a table at once: what is handed on from one operation to the next stays in a core's cache"""


class TouchedRowsOptimizer(Optimizer, ABC):
    """A step in every table for its touched rows.

    Args:
        tables: (R, D) each.
        rate: the learning rate. Where the rows of K tables take turns in each of these, a group's `lr` may be K rates.
    """

    def __init__(self, tables: Iterable[nn.Parameter], rate: float) -> None:
        super().__init__(list(tables), {"lr": rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Raises:
        ValueError: a closure was given; one pass has no second evaluation.
        """
        if closure is not None:
            raise ValueError("a step on touched rows takes no closure")
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                state = self.state[table]
                if not state:
                    state.update(self._start(table))
                rows, gradient = _rows_once(table.grad)
                self._begin_step(state)
                size = PIECE_ROWS if table.device.type == "cpu" else max(len(rows), 1)
                for some, part in zip(torch.split(rows, size), torch.split(gradient, size), strict=True):
                    # not by alpha: with one, torch adds row by row and takes three times as long
                    table.index_add_(0, some, self._change(state, some, part).mul_(-_rates(group["lr"], some)))

    def _begin_step(self, state: dict[str, torch.Tensor]) -> None:
        """What a step moves on in the state whatever rows it touches; of most states nothing."""

    @abstractmethod
    def _start(self, table: nn.Parameter) -> dict[str, torch.Tensor]:
        """The state of a table that no step has changed."""

    @abstractmethod
    def _change(self, state: dict[str, torch.Tensor], rows: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """What the rate multiplies, (U, D), from the gradient of some rows, (U, D); their state moves on.

        The tensor is the caller's to change.
        """


def _rates(rate: float | torch.Tensor, rows: torch.Tensor) -> float | torch.Tensor:
    """The rate, or of K rates that of each row."""
    return rate[rows % len(rate)].unsqueeze(1) if isinstance(rate, torch.Tensor) else rate


def _rows_once(gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that a sparse gradient has, each once, (U,), and their values, (U, D).

    Autograd hands a gradient on without the word that its rows are ascending, and putting them in order once more costs
    as much as the rest of a step.
    """
    rows, values = gradient._indices()[0], gradient._values()
    if rows.device.type == "cpu" and bool((rows.diff() > 0).all()):  # elsewhere the question itself would wait
        return rows, values
    ordered = gradient.coalesce()
    return ordered.indices()[0], ordered.values()


class RowwiseAdagrad(TouchedRowsOptimizer):
    """g / (√s + ε) with one s per row: the sum over steps of the mean of g² over the row's D numbers (Duchi 2011)."""

    def _start(self, table: nn.Parameter) -> dict[str, torch.Tensor]:
        return {"sum": table.new_zeros(len(table), 1)}

    def _change(self, state: dict[str, torch.Tensor], rows: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        sums = state["sum"].index_select(0, rows)
        sums += gradient.square().mean(dim=1, keepdim=True)
        state["sum"].index_copy_(0, rows, sums)
        return gradient / sums.sqrt_().add_(EPSILON_ADAGRAD)


class Adagrad(TouchedRowsOptimizer):
    """g / (√s + ε) with an s per number: the sum of g² over steps (Duchi 2011)."""

    def _start(self, table: nn.Parameter) -> dict[str, torch.Tensor]:
        return {"sum": torch.zeros_like(table)}

    def _change(self, state: dict[str, torch.Tensor], rows: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        sums = state["sum"].index_select(0, rows).addcmul_(gradient, gradient)
        state["sum"].index_copy_(0, rows, sums)
        return gradient / sums.sqrt_().add_(EPSILON_ADAGRAD)


class LazyAdam(TouchedRowsOptimizer):
    """m̂ / (√v̂ + ε) (Kingma 2015), where moments of untouched rows do not decay; t counts the table's steps."""

    def _start(self, table: nn.Parameter) -> dict[str, torch.Tensor]:
        return {
            "step": torch.zeros((), dtype=torch.int64),
            "exp_avg": torch.zeros_like(table),
            "exp_avg_sq": torch.zeros_like(table),
        }

    def _begin_step(self, state: dict[str, torch.Tensor]) -> None:
        state["step"] += 1

    def _change(self, state: dict[str, torch.Tensor], rows: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        first, second = (1 - beta ** int(state["step"]) for beta in BETAS)
        mean = state["exp_avg"].index_select(0, rows).lerp_(gradient, 1 - BETAS[0])
        square = state["exp_avg_sq"].index_select(0, rows).mul_(BETAS[1])
        square.addcmul_(gradient, gradient, value=1 - BETAS[1])
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        return mean.div_(first) / square.div_(second).sqrt_().add_(EPSILON_ADAM)
