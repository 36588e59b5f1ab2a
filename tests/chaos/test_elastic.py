"""A fleet whose nodes come and go, as spot machines do, while the FM has nodes of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.chaos.driver import Driver
from tests.chaos.nodes import Nodes, nodes
from tests.chaos.processes import title
from tests.chaos.recipe import content

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_200)]

SPOT_CPUS = 2


@pytest.fixture
def cluster() -> Iterator[Nodes]:
    """A head, a node for the FM, and one spot node."""
    with nodes(1) as opened:
        opened.add(resources={"teacher": 1})
        opened.add(SPOT_CPUS, {"spot": 1})
        yield opened


def workers(cluster: Nodes) -> int:
    """Processes that train VMs now."""
    return sum(
        title(process).startswith("ray::RayTrainWorker")
        for node in cluster.others[1:]
        for process in cluster.processes_of(node)
    )


def test_a_fleet_grows_with_nodes_that_come_and_goes_on_without_those_that_go(
    cluster: Nodes, expected: bytes, tmp_path: Path
) -> None:
    recipe = content()
    recipe["resources"] |= {
        "fleet_workers": 2 * SPOT_CPUS,
        "fleet_workers_least": 1,
        "fm_nodes": "teacher",
        "vm_nodes": "spot",
    }
    path = tmp_path / "elastic.yaml"
    path.write_text(yaml.safe_dump(recipe))
    driver = Driver(path, tmp_path / "run", cluster.address)
    driver.wait_for(lambda: workers(cluster) == SPOT_CPUS)
    _, first = cluster.others
    cluster.add(SPOT_CPUS, {"spot": 1})
    driver.wait_for(lambda: workers(cluster) == 2 * SPOT_CPUS)
    cluster.kill(first)
    driver.wait_for(lambda: workers(cluster) == SPOT_CPUS)
    assert driver.finish() == expected
