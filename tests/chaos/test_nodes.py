"""The same recipe gives the same results, whatever it runs on."""

from pathlib import Path

import pytest

from tests.chaos.driver import Driver
from tests.chaos.nodes import Nodes

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_200)]


def test_one_node(recipe: Path, expected: bytes, tmp_path: Path) -> None:
    assert Driver(recipe, tmp_path / "run", None).finish() == expected


def test_three_nodes(recipe: Path, expected: bytes, three_nodes: Nodes, tmp_path: Path) -> None:
    assert Driver(recipe, tmp_path / "run", three_nodes.address).finish() == expected
