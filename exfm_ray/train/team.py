"""Several workers that train one model together, each on its part of every batch.

Every worker holds the whole model: embedding tables, dense parameters and optimizers' states are replicas. Every worker
reads every row of a day too; what is shared out is the computing of the model: its forward and backward passes, and its
predictions of a day. A step's gradients are summed over the workers before the optimizers see them, of a table those of
the rows that the batch touches, so that every worker takes the same step and all replicas stay equal to the last bit.

Sums over parts of a batch round otherwise than a sum over the whole: N workers give the numbers of one but for that,
and always the same ones for the same N.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import ray.train
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.optim import Optimizer

from exfm_ray.data.batches import Batch
from exfm_ray.train.table_optimizers import TouchedRowsOptimizer

Value = TypeVar("Value")

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Part:
    """The rows of a batch that one worker computes."""

    batch: Batch
    start: int
    stop: int
    """they are those from `start` up to `stop`"""
    share: float
    """of the batch's rows, in [0, 1]; 0 where they count elsewhere, since there are fewer of them than workers"""


@dataclass(frozen=True)
class Team:
    """The workers of one model, as one of them sees them; by default it is alone, and nothing here does anything.

    All workers must call the same methods in the same order, or they wait for each other until torch gives up.
    """

    worker: int = 0
    workers: int = 1
    device: torch.device = CPU

    @classmethod
    def here(cls, device: torch.device) -> "Team":
        """That of the Ray Train run which this process works for."""
        context = ray.train.get_context()
        return cls(context.get_world_rank(), context.get_world_size(), device)

    @property
    def is_first(self) -> bool:
        """Whether this worker commits what all of them have made."""
        return self.worker == 0

    def part(self, batch: Batch) -> Part:
        """This worker's rows of a batch: as many as any other's, or one less.

        A batch of fewer rows than workers is computed by each of them, and counts at the first alone.
        """
        rows = len(batch)
        if self.workers == 1 or rows < self.workers:
            return Part(batch, 0, rows, float(self.is_first))
        start, stop = (rows * worker // self.workers for worker in (self.worker, self.worker + 1))
        return Part(batch.part(start, stop), start, stop, (stop - start) / rows)

    def sum_gradients(self, optimizers: Iterable[Optimizer], share: float) -> None:
        """Make every parameter's gradient the sum of all workers', each times its share, in one exchange.

        A dense parameter that only some workers' rows have used has a gradient afterwards in all of them; one that
        nobody's have used has none, as with one worker.
        """
        if self.workers == 1:
            return
        dense, tables = _parameters(optimizers)
        used = torch.tensor([float(one.grad is not None) for one in dense], device=self.device)
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in dense]
        for table in tables:
            assert table.grad is not None
            table.grad = table.grad.coalesce()  # its rows are the same in every worker
            gradients.append(table.grad.values())
        flat = torch.cat([used, *(gradient.flatten() for gradient in gradients)]).mul_(share)
        distributed.all_reduce(flat)
        used, *sums = torch.split(flat, [len(used), *(gradient.numel() for gradient in gradients)])
        for gradient, total in zip(gradients, sums, strict=True):
            gradient.copy_(total.view_as(gradient))
        for one, gradient, uses in zip(dense, gradients, used.tolist(), strict=False):
            one.grad = gradient if uses else None

    def summed(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sum of all workers' values, which have one shape."""
        if self.workers == 1:
            return values
        total = torch.from_numpy(values).to(self.device)
        distributed.all_reduce(total)
        result: NDArray[np.float32] = total.cpu().numpy()
        return result

    def agreed(self, value: Value) -> Value:
        """The first worker's value, whatever the others have seen: storage may change between two looks at it."""
        if self.workers == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def meet(self) -> None:
        """Wait until all workers are here."""
        if self.workers > 1:
            distributed.barrier()

    def check_equal(self, module: nn.Module, *counts: int) -> None:
        """Compare the workers' replicas and what they have counted.

        Raises:
            RuntimeError: they differ: one has read another checkpoint, say. Started again, they go on from one state.
        """
        if self.workers == 1:
            return
        bits = (parameter.detach().contiguous().view(torch.int32) for parameter in module.parameters())
        sums = [int(values.sum(dtype=torch.int64)) for values in bits]
        least = torch.tensor([sum(sums) % 2**62, *counts], dtype=torch.int64, device=self.device)
        most = least.clone()
        distributed.all_reduce(least, distributed.ReduceOp.MIN)
        distributed.all_reduce(most, distributed.ReduceOp.MAX)
        if not torch.equal(least, most):
            raise RuntimeError(f"the {self.workers} workers of one model hold different states of it")


ALONE = Team()


def _parameters(optimizers: Iterable[Optimizer]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Those that the optimizers train: dense ones, and tables that the batch has touched."""
    dense: list[nn.Parameter] = []
    tables: list[nn.Parameter] = []
    for optimizer in optimizers:
        own = [one for group in optimizer.param_groups for one in group["params"]]
        if isinstance(optimizer, TouchedRowsOptimizer):
            tables += [one for one in own if one.grad is not None]
        else:
            dense += own
    return dense, tables
