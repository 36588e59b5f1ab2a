"""torch's optimizers, to the bit, without its compiler."""

import subprocess
import sys

import pytest
import torch

from exfm_ray.config import AdapterConfig
from exfm_ray.train.optimizers import build_adapter_optimizer

STEPS = """
import sys, torch
from exfm_ray.config import AdapterConfig, OptimizerConfig
from exfm_ray.train.optimizers import build_adapter_optimizer, build_optimizers

table, layer = torch.nn.Embedding(5, 2, sparse=True), torch.nn.Linear(2, 1)
optimizers = []
for kind in ("rowwise_adagrad", "adagrad", "lazy_adam"):
    optimizers += build_optimizers(OptimizerConfig(embedding=kind), layer.parameters(), [table.weight]).values()
for kind in ("adam", "adagrad", "sgd"):
    optimizers.append(build_adapter_optimizer(AdapterConfig(optimizer=kind), layer.parameters()))
for optimizer in optimizers:
    before = table.weight.detach().clone(), layer.weight.detach().clone()
    optimizer.zero_grad(set_to_none=True)
    layer(table(torch.tensor([1, 3]))).sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    print(bool((table.weight != before[0]).any()) or bool((layer.weight != before[1]).any()))
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""


def test_no_optimizer_needs_the_compiler() -> None:
    found = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [*["True"] * 9, "[]"]


@pytest.mark.parametrize("kind", ["adam", "adagrad", "sgd"])
def test_a_step_is_that_of_torch_to_the_bit(kind: str) -> None:
    config = AdapterConfig(optimizer=kind)
    of_torch = {"adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}[kind]
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    optimizers = (
        build_adapter_optimizer(config, [ours]),
        of_torch([theirs], lr=config.learning_rate, **({"fused": True} if kind == "adam" else {})),
    )
    for step in range(5):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = torch.cos(parameter.detach() + step)
            optimizer.step()
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, torch.linspace(-1, 1, 7))
