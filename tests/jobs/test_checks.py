"""What is told before anything is sent to a cluster."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from exfm_ray.cli import app
from tests.das.zookeeper_server import free_port
from tests.tune.studies import study_content


class Stranger(BaseHTTPRequestHandler):
    """Answers everything alike, as any web server may."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("edit", "options", "told"),
    [
        ("data.days=two", [], "data.days: 'two': "),
        ("evaluate.train_from_day=9", [], "data: 4 days are too few"),
        ("vms.first.domain=9", [], "vms.0 (first)"),
        ("data={type: partitions, path: here}", [], "data.path: 'here' is relative"),
        ("seeds=[0]", ["--out", "runs/small"], "--out: 'runs/small' is relative"),
        ("seeds=[0]", ["--store", "common"], "--store: 'common' is relative"),
        ("seeds=[0]", ["--storage", "sqlite:////tmp/study.db"], "--storage: is of a study, and small is a recipe"),
        ("seeds=[0]", ["--timeout", "9"], "--timeout: is of a study"),
        ("seeds=[0]", ["--no-follow", "--to", "here"], "--to: results come when the job ends"),
        ("seeds=[0]", ["--address", "127.0.0.1:8265"], "--address: '127.0.0.1:8265' is no place of Ray's job API"),
        ("seeds=[0]", ["--address", "ray://127.0.0.1:10001"], "is no place of Ray's job API"),
        ("seeds=[0]", ["--address", f"http://127.0.0.1:{free_port()}"], "--address: nobody answers"),
    ],
)
def test_mistakes_are_told_in_one_line(small_recipe_file: Path, edit: str, options: list[str], told: str) -> None:
    arguments = ["submit", str(small_recipe_file), "--set", edit, "--address", "http://127.0.0.1:1", *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("edit", "options", "told"),
    [
        ("space.lable_scale=[1]", [], "space.lable_scale: there is no such field; did you mean 'label_scale'?"),
        ("choose_through_day=5", [], "choose_through_day: 5 leaves none of the 5 days to report"),
        ("recipe.vms.first.domain=9", [], "domain: 9 is not in the data"),
        ("recipe.data={type: partitions, path: here}", [], "data.path: 'here' is relative"),
        ("trials=6", ["--out", "studies/small"], "--out: 'studies/small' is relative"),
        ("trials=6", ["--out", "s3://bucket/study"], "--storage: is missing; s3://bucket/study is not on this machine"),
        ("trials=6", ["--storage", "sqlite:///study.db"], "--storage: 'sqlite:///study.db' is of a relative path"),
        ("trials=6", ["--set-from", "elsewhere"], "is a study, which searches what elsewhere chose; leave it out"),
        ("trials=6", [], "--address: nobody answers"),
    ],
)
def test_mistakes_in_a_study_are_told_in_one_line(tmp_path: Path, edit: str, options: list[str], told: str) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(study_content()))
    nobody = f"http://127.0.0.1:{free_port()}"
    result = CliRunner().invoke(app, ["submit", str(study), "--set", edit, "--address", nobody, *options])
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_another_kind_of_server_is_told(small_recipe_file: Path, stranger: str) -> None:
    result = CliRunner().invoke(app, ["submit", str(small_recipe_file), "--address", stranger])
    assert result.exit_code == 2
    assert f"--address: who answers at {stranger} is no Ray" in result.stderr
