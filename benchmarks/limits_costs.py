"""What the matrix products and the moves of vectors of a step cost by themselves on this machine, in CPU time.

A helper of benchmarks/limits.py.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from exfm_ray.models.inputs import Inputs
from exfm_ray.models.lookup import Lookup, TableLayout
from exfm_ray.models.products import product

REPEATS = 7


@dataclass(frozen=True, order=True)
class Shape:
    """Of a product of two matrices, (m, k)·(k, n), and which of them lie transposed in memory."""

    m: int
    k: int
    n: int
    left_turned: bool
    right_turned: bool

    def __str__(self) -> str:
        left, right = ("ᵀ" if turned else "" for turned in (self.left_turned, self.right_turned))
        return f"({self.m} × {self.k}){left}·({self.k} × {self.n}){right}"

    @property
    def operations(self) -> int:
        return 2 * self.m * self.k * self.n

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        left = torch.randn(self.k, self.m).t() if self.left_turned else torch.randn(self.m, self.k)
        right = torch.randn(self.n, self.k).t() if self.right_turned else torch.randn(self.k, self.n)
        return left, right


class _Products(TorchDispatchMode):
    """Counts the products that run in its block, by shape."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: Counter[Shape] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in ("aten::mm", "aten::addmm", "aten::addmm_"):
            left, right = args[-2:]
            self.shapes[_shape(left, right)] += 1
        elif name == "mkldnn::_linear_pointwise":
            left, weight = args[:2]
            self.shapes[_shape(left, weight.t())] += 1
        return func(*args, **(kwargs or {}))


def _shape(left: torch.Tensor, right: torch.Tensor) -> Shape:
    (m, k), n = left.shape, right.shape[1]
    return Shape(m, k, n, left.stride(0) == 1 != m, right.stride(0) == 1 != k)


@contextmanager
def products_of() -> Iterator[Counter[Shape]]:
    """The products of what runs in this block, with how often each is."""
    recorder = _Products()
    with recorder:
        yield recorder.shapes


def cpu_seconds(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """The least CPU time of this thread that the work took, after once that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        started = time.thread_time()
        work()
        taken.append(time.thread_time() - started)
    return min(taken)


Multiply = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def times_of(shapes: Counter[Shape], multiply: Multiply) -> dict[Shape, float]:
    """CPU seconds of one product of each shape."""
    found = {}
    for shape in shapes:
        left, right = shape.factors()
        found[shape] = cpu_seconds(lambda: multiply(left, right))  # noqa: B023  called at once
    return found


def by_ours(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """By the library that this CPU multiplies such sizes fastest with."""
    return product(left, right)


def by_mkl(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """As torch itself, and so FuxiCTR, multiplies."""
    return left @ right


def by_onednn(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")
    return found


def by_bfloat16(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Factors rounded to bfloat16 before: what it takes to round them is not in it."""
    return left @ right


@dataclass(frozen=True)
class Moves:
    """CPU seconds of moving a batch's vectors once, whatever else is done with them."""

    gather: float
    """the touched rows out of the table"""
    pool: float
    """categorical vectors and sums of histories, as (B, F, D)"""
    back: float
    """the sum of each touched row's gradients"""
    write: float
    """the touched rows added to the table"""

    @property
    def of_training(self) -> float:
        return self.gather + self.pool + self.back + self.write

    @property
    def of_predicting(self) -> float:
        """Without a gradient nothing need be gathered before."""
        return self.pool


def moves_of(inputs: Inputs, layout: TableLayout, table: torch.Tensor) -> Moves:
    """Of one batch whose ids have been looked up; the sums that the look-up leaves are found before."""
    lookup = Lookup.of(inputs, layout)
    touched = table.index_select(0, lookup.rows)
    pooled = tuple(range(len(lookup.sequences)))
    fields = lookup.categorical.shape[1] + len(pooled)
    gradient = torch.randn(len(inputs) * fields, table.shape[1])
    bags = lookup.sums_over_fields(0, pooled)

    def pool() -> None:
        touched.index_select(0, lookup.categorical.flatten())
        for index in pooled:
            of = lookup.sequences[index]
            functional.embedding_bag(of.places, touched, of.offsets, mode="sum", include_last_offset=True)

    def back() -> torch.Tensor:
        return functional.embedding_bag(bags.places, gradient, bags.offsets, mode="sum", include_last_offset=True)

    return Moves(
        gather=cpu_seconds(lambda: table.index_select(0, lookup.rows)),
        pool=cpu_seconds(pool),
        back=cpu_seconds(back),
        write=cpu_seconds(lambda: table.index_add_(0, lookup.rows, touched)),
    )


def copy_rate() -> float:
    """Bytes per second that one core copies, read and written each once, of 64 MiB."""
    source, target = torch.randn(2**24), torch.empty(2**24)
    return 2 * 4 * 2**24 / cpu_seconds(lambda: target.copy_(source))
