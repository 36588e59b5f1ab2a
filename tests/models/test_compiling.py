"""Compiled layers compute what the others do."""

import shutil

import pytest
import torch

from exfm_ray.config import DcnV2Model
from exfm_ray.models.build import build_model, seeded
from exfm_ray.models.compiling import compile_layers
from exfm_ray.models.model import Model
from tests.models.test_serving import random_inputs, schema_of

CONFIG = DcnV2Model(embedding_dim=4, hidden=(8, 4), dropout=0.3, tower_hidden=(4,))


def stepped(model: Model) -> list[torch.Tensor]:
    """Logits of batches of several sizes, in training and in predicting, after a step on each."""
    optimizer, made = torch.optim.SGD(model.dense_parameters(), lr=0.1), []
    for rows in (64, 64, 17):
        inputs = random_inputs(rows, 2, 1, 5)
        loss = model.train()(inputs).square().mean()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            made += [loss.detach(), model.eval()(inputs)]
    return made


@pytest.mark.slow  # a C++ compiler works for half a minute
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_compiled_layers_give_the_same_with_the_same_masks() -> None:
    plain, compiled = (
        seeded(lambda: build_model(CONFIG, schema_of(numeric=2, sequences=1), 1), 0, "model") for _ in range(2)
    )
    names = list(compiled.state_dict())
    compile_layers(compiled)
    assert list(compiled.state_dict()) == names
    for ours, expected in zip(stepped(compiled), stepped(plain), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
