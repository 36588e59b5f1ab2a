"""The same recipe gives the same results, whatever it runs on."""

from pathlib import Path

import pytest
import ray

from exfm_ray.config import Recipe
from exfm_ray.shared_directory import check_shared
from tests.chaos.driver import Driver
from tests.chaos.nodes import Nodes, nodes
from tests.conftest import claimed

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_200)]


def test_one_node(recipe: Path, expected: bytes, tmp_path: Path) -> None:
    assert Driver(recipe, tmp_path / "run", None).finish() == expected


def test_three_nodes(recipe: Path, expected: bytes, three_nodes: Nodes, tmp_path: Path) -> None:
    assert Driver(recipe, tmp_path / "run", three_nodes.address).finish() == expected


def test_a_node_that_dies_before_it_has_looked_at_the_run_is_left_out(
    small_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = claimed(small_recipe, tmp_path / "run").run
    with nodes(3) as cluster:
        ray.init(address=cluster.address)
        try:
            before = ray.nodes()
            cluster.kill(cluster.others[0])
            monkeypatch.setattr(ray, "nodes", lambda: before)  # as they were a moment ago
            check_shared(run)
        finally:
            ray.shutdown()
