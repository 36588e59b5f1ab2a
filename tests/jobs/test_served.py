"""The FM as an application of a Serve config, deployed as KubeRay does it: by a PUT to the head's dashboard."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import UserError
from exfm_ray.serve_application import ServedRun, application
from tests.conftest import small_content
from tests.das.zookeeper_server import free_port
from tests.ray_head import Head

TOKEN = "clients-show-this"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("finished")
    (place / "small.yaml").write_text(yaml.safe_dump(small_content()))
    done = CliRunner().invoke(app, ["run", str(place / "small.yaml"), "--out", str(place / "run")])
    assert done.exit_code == 0, done.stderr
    return place / "run"


def test_it_is_not_served_without_a_token(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXFM_TOKEN", raising=False)
    with pytest.raises(UserError, match="EXFM_TOKEN: is missing"):
        application(ServedRun(run=str(finished)))


def test_a_run_without_snapshots_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run directory"):
        application(ServedRun(run=str(tmp_path)))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_clients_with_the_token_get_the_newest_snapshot(started_head: Head, finished: Path) -> None:
    port = free_port()
    served = {
        "name": "fm",
        "route_prefix": "/",
        "import_path": "exfm_ray.serve_application:application",
        "args": {"run": str(finished)},
        "runtime_env": {"env_vars": {"EXFM_TOKEN": TOKEN}},
    }
    config = {"http_options": {"host": "127.0.0.1", "port": port}, "applications": [served]}
    started_head.ask("/api/serve/applications/", "DELETE")  # Serve may run without a port, for some job before
    started_head.ask("/api/serve/applications/", "PUT", json.dumps(config).encode())
    try:
        deadline = time.monotonic() + 180
        while (state := state_of(started_head))["status"] != "RUNNING":
            assert time.monotonic() < deadline, state["message"]
            time.sleep(0.5)
        url = f"http://127.0.0.1:{port}/v1/snapshot"
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked(url, "another")
        assert refused.value.code == 401
        newest = max(RunDirectory(Location.of(str(finished))).snapshots("fm").children(), key=lambda place: place.name)
        assert json.loads(asked(url, TOKEN))["snapshot"] == f"fm/{newest.name}"
    finally:
        started_head.ask("/api/serve/applications/", "DELETE")


def state_of(head: Head) -> dict[str, str]:
    found: dict[str, str] = json.loads(head.ask("/api/serve/applications/"))["applications"]["fm"]
    return found


def asked(url: str, token: str) -> bytes:
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        content: bytes = answer.read()
        return content
