"""A real Ray that cannot give what a recipe needs: a run ends with one line that says for what it waited."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import small_content

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

FULL_CLUSTER = """
    import subprocess, sys
    import ray
    from ray.cluster_utils import Cluster

    # as many CPUs as the recipe needs, but another program has some of them
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    ray.init(cluster.address, log_to_driver=False)
    holder = ray.remote(num_cpus=float(sys.argv[1]))(type("Holder", (), {"here": lambda self: True})).remote()
    ray.get(holder.here.remote())
    done = subprocess.run([sys.executable, "-m", "exfm_ray.cli", *sys.argv[2:], "--address", cluster.address])
    sys.exit(done.returncode)
"""


def run_on_a_full_cluster(held_cpus: float, recipe: Path, out: Path) -> Any:
    """The command `exfm run` on a cluster of 4 CPUs, some of which are taken."""
    code = textwrap.dedent(FULL_CLUSTER)
    command = [sys.executable, "-c", code, str(held_cpus), "run", str(recipe), "--out", str(out)]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    place = tmp_path / "small.yaml"
    resources = {"fleet_workers": 1, "start_timeout_seconds": 40, "max_failures": 1, "wait_timeout_seconds": 600}
    place.write_text(yaml.safe_dump(small_content(resources=resources)))
    return place


def test_what_the_cluster_never_gives_ends_the_run_in_one_line(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run_on_a_full_cluster(4, recipe, out)
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("exfm: ")]
    assert line.startswith("exfm: failed: WaitError: waited 40 s for a")
    assert "and it is not there" in line
    assert "resources.start_timeout_seconds" in line
    assert "free in the cluster: 0 of 4 CPUs" in line
    assert (out / "logs" / "failure.log").is_file()


NOTHING_TO_READ = """
    import sys
    from pathlib import Path
    from exfm_ray.cluster import ray_cluster
    from exfm_ray.config import Recipe
    from exfm_ray.errors import WaitError
    from exfm_ray.train.launch import train_vertical_models
    from tests.conftest import claimed, small_content

    root = Path(sys.argv[1])
    resources = {"fleet_workers": 1, "wait_timeout_seconds": 1, "max_failures": 2}
    experiment = claimed(Recipe.model_validate(small_content(resources=resources)), root)
    with ray_cluster(experiment.recipe, None, root / "logs") as workers:
        try:
            train_vertical_models(experiment, workers)
        except WaitError as error:
            print(error)
    print(len(list(root.glob("starts/*"))), "started")
"""


def test_a_worker_that_waited_in_vain_is_not_made_to_wait_again(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(NOTHING_TO_READ), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    told, started = done.stdout.splitlines()
    assert told.startswith("waited 1 s for the supervision of day 2 at "), done.stderr
    assert started == "1 started"
