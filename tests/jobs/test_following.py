"""What is shown of a job, and how its end is told, beside a server that answers as Ray's job API does."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import ray
from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.jobs import following

JOB = "exfm-run-1"


@dataclass(frozen=True)
class Moment:
    """What the API says of the job when it is asked for the next time."""

    status: str
    output: str
    message: str = ""
    exit_code: int | None = None


HANG_UP = Moment("RUNNING", "")
"""instead of an answer"""


class JobApi(HTTPServer):
    """Goes through moments, and stays at the last."""

    def __init__(self, *moments: Moment) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.moments = list(moments)

    def now(self) -> Moment:
        return self.moments[0]

    def pass_on(self) -> None:
        if len(self.moments) > 1:
            self.moments.pop(0)


class _Answers(BaseHTTPRequestHandler):
    server: JobApi

    def do_GET(self) -> None:
        moment = self.server.now()
        if moment is HANG_UP:
            self.server.pass_on()
            self.close_connection = True
            return
        details = {
            "type": "SUBMISSION",
            "submission_id": JOB,
            "entrypoint": "exfm",
            "status": moment.status,
            "message": moment.message,
            "driver_exit_code": moment.exit_code,
        }
        answer: Any = {"ray_version": ray.__version__}
        if self.path == "/api/jobs/":
            answer = [details]
        elif self.path.endswith("/logs"):
            answer = {"logs": moment.output}
            self.server.pass_on()
        elif self.path.startswith("/api/jobs/"):
            answer = details
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Follow a job through moments by the command line; returns its result."""
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    servers: list[JobApi] = []

    def follow(*moments: Moment) -> Any:
        server = JobApi(*moments)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return CliRunner().invoke(app, ["job", "logs", JOB, "--address", f"http://127.0.0.1:{server.server_port}"])

    yield follow
    for server in servers:
        server.shutdown()
        server.server_close()


def test_lines_are_shown_once_and_whole(shown: Callable[..., Any]) -> None:
    running = [Moment("RUNNING", text) for text in ("", "one\ntw", "one\ntw", "one\ntwo\n")]
    result = shown(Moment("PENDING", "", "no room"), *running, Moment("SUCCEEDED", "one\ntwo\nthree", exit_code=0))
    assert result.stdout == "waiting: no room\none\ntwo\nthree"
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("status", "its_code", "code", "told"),
    [
        ("FAILED", 2, 2, ""),
        ("FAILED", -9, 1, "the job failed: it is gone\n"),
        ("FAILED", None, 1, "the job failed: it is gone\n"),
        ("STOPPED", None, 130, "the job was stopped; the same submission goes on from what is committed\n"),
    ],
)
def test_the_end_is_told(shown: Callable[..., Any], status: str, its_code: int | None, code: int, told: str) -> None:
    result = shown(Moment(status, "all\n", "it is gone\nand more", its_code))
    assert result.exit_code == code
    assert result.stdout == f"all\n{told}"


def test_a_cluster_that_does_not_answer_for_a_while_is_waited_for(shown: Callable[..., Any]) -> None:
    result = shown(Moment("RUNNING", "one\n"), HANG_UP, HANG_UP, Moment("SUCCEEDED", "one\ntwo\n", exit_code=0))
    assert result.exit_code == 0
    assert result.stdout == "one\ntwo\n"


def test_a_cluster_that_answers_no_more_is_told(shown: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.0)
    result = shown(Moment("RUNNING", "one\n"), HANG_UP)
    assert result.exit_code == 1
    assert result.stdout == "one\n"
    assert "does not answer" in result.stderr
    assert f"the job goes on: exfm job logs {JOB} --address" in result.stderr
    assert result.stderr.count("\n") == 1
