"""torch's optimizers of dense parameters, without torch's compiler.

What torch.compile must not enter of them imports the compiler at its first call, only to tell it so: 70 MiB and a
second of CPU time in every process that trains. No optimizer is compiled here; a step is the same, bit for bit.
"""

import inspect
from typing import TypeVar

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=type[Optimizer])


def _plain(kind: Kind) -> Kind:
    """A subclass whose step goes to the computation at once."""
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {"step": step})  # type: ignore[return-value]


def _spare_the_compiler() -> None:
    """Mark the methods that all optimizers share as ones that the compiler has been told of."""
    for method in vars(Optimizer).values():
        if (plain := getattr(method, "__wrapped__", None)) is not None:
            setattr(plain, "__dynamo_disable", plain)


_spare_the_compiler()
Adam = _plain(torch.optim.Adam)
Adagrad = _plain(torch.optim.Adagrad)
Sgd = _plain(torch.optim.SGD)
