"""Several nodes: which of them does what, and whether they see the same files."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import small_content
from tests.ray_head import Head
from tests.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

PLACED = {"fleet_workers": 2, "wait_timeout_seconds": 120, "fm_nodes": "teacher", "vm_nodes": "spot"}


@pytest.fixture
def head() -> Iterator[Head]:
    """One that computes nothing, as in clusters/."""
    head = Head(token=secrets.token_hex(32), cpus=0)
    try:
        head.start()
        yield head
    finally:
        head.kill()


def places(head: Head) -> dict[str, set[str]]:
    """On which of the nodes the actors of each class were: the custom resource of the node, or head."""
    nodes = {node["node_id"]: node["resources_total"].keys() & {"teacher", "spot"} for node in head.listed("nodes")}
    found: dict[str, set[str]] = {}
    for actor in head.listed("actors"):
        found.setdefault(actor["class_name"], set()).update(nodes[actor["node_id"]] or {"head"})
    return found


def run(head: Head, recipe: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return exfm("run", str(recipe), "--address", head.gcs_address, *options, env=head.environment())


def exfm(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exfm_ray.cli", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def recipe_file(place: Path, **resources: Any) -> Path:
    path = place / "small.yaml"
    path.write_text(yaml.safe_dump(small_content(resources=resources)))
    return path


def test_every_part_runs_where_the_recipe_says_and_the_numbers_are_those_of_one_process(
    s3: S3Server, head: Head, tmp_path: Path
) -> None:
    head.join(3, '{"teacher": 1}')
    head.join(3, '{"spot": 1}')
    out = s3.bucket("nodes") / "run"
    done = run(head, recipe_file(tmp_path, **PLACED), "--out", str(out))
    assert done.returncode == 0, done.stderr
    held = places(head)
    (replica,) = [name for name in held if name.startswith("ServeReplica:")]
    assert held[replica] == {"teacher"}
    assert held["RayTrainWorker"] == {"teacher", "spot"}
    assert held["PointerKeeper"] == {"head"}
    alone = tmp_path / "alone"
    assert exfm("run", str(recipe_file(tmp_path, mode="local")), "--out", str(alone)).returncode == 0
    assert (out / "results.jsonl").read() == (alone / "results.jsonl").read_bytes()


def test_nodes_that_the_recipe_asks_for_in_vain_are_told(head: Head, tmp_path: Path) -> None:
    head.join(6, '{"teacher": 1}')
    done = run(head, recipe_file(tmp_path, **PLACED), "--out", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "resources.vm_nodes: no node has the custom resource 'spot'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_directory_that_another_node_does_not_see_is_told(head: Head, tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0:
        pytest.skip("a node with files of its own needs the right to make mounts")
    out = tmp_path / "run"
    out.mkdir()
    head.join(6)
    hide = f'mount -t tmpfs none {out} && exec "$@"'
    head.join(2, inside=["unshare", "--mount", "sh", "-c", hide, "sh"])
    done = run(head, recipe_file(tmp_path, fleet_workers=1, wait_timeout_seconds=120), "--out", str(out))
    assert done.returncode == 2
    assert f"--out: {out}/recipe.yaml is not seen by the node" in done.stderr
    assert done.stderr.count("\n") == 1
