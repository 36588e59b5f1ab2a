"""A cluster of three nodes that all disturbed runs share, as users' runs share theirs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.chaos.nodes import Nodes, nodes
from tests.chaos.recipe import content


@pytest.fixture(scope="package")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "chaos.yaml"
    path.write_text(yaml.safe_dump(content()))
    return path


@pytest.fixture(scope="package")
def expected(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Results of the same recipe in one process that nobody disturbed."""
    out = tmp_path_factory.mktemp("calm") / "run"
    command = [sys.executable, "-m", "exfm_ray.cli", "run", str(recipe), "--out", str(out)]
    done = subprocess.run(
        [*command, "--set", "resources.mode=local"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return (out / "results.jsonl").read_bytes()


@pytest.fixture(scope="package")
def three_nodes() -> Iterator[Nodes]:
    with nodes(3) as opened:
        yield opened
