"""Runs that nobody disturbs, and a cluster of three nodes that disturbed runs share, as users' runs share theirs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.chaos.driver import RUN_SECONDS
from tests.chaos.nodes import Nodes, nodes
from tests.chaos.recipe import content
from tests.chaos.small_run import SmallRun
from tests.conftest import small_content


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
        [*command, "--set", "resources.mode=local"], capture_output=True, text=True, check=False, timeout=RUN_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return (out / "results.jsonl").read_bytes()


@pytest.fixture(scope="package")
def three_nodes() -> Iterator[Nodes]:
    with nodes(3) as opened:
        yield opened


@pytest.fixture(scope="package")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """A finished run in this process, not to be changed."""
    place = tmp_path_factory.mktemp("small")
    small = SmallRun(recipe=place / "small.yaml", out=place / "run")
    content = small_content(methods=["ah_sa"], das={"swap_timeout_seconds": 0.5})
    content["data"]["events_per_day"] = 600
    small.recipe.write_text(yaml.safe_dump(content))
    done = small.again(small.out)
    assert done.exit_code == 0, done.output
    return small
