"""`exfm serve`: what stops it before anything starts, and the whole of it on Ray."""

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.config import DasConfig, ResourcesConfig
from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.pointer import point_to
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.request_rows import ARROW, JSON
from exfm_ray.das.wire import from_bytes, to_bytes
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.errors import UserError
from exfm_ray.existing_run import experiment_of
from exfm_ray.needs import check_room
from exfm_ray.schema import Schema
from exfm_ray.serve_run import keep_collecting
from tests.conftest import small_content
from tests.das.door_rows import database_at, publish

TOKEN = "a-token-of-the-test"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the small recipe with its newest snapshot not yet published; not to be changed."""
    place = tmp_path_factory.mktemp("finished")
    (place / "small.yaml").write_text(yaml.safe_dump(small_content(methods=["none"])))
    done = CliRunner().invoke(app, ["run", str(place / "small.yaml"), "--out", str(place / "run")])
    assert done.exit_code == 0, done.output
    shutil.move(place / "run" / "snapshots" / "fm" / "day=003", place / "later")
    return place / "run"


def refused(*arguments: str) -> str:
    """The one line that a mistake is told with."""
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    return line.removeprefix("exfm: ")


def test_a_directory_that_is_no_run_is_told(tmp_path: Path) -> None:
    assert refused(str(tmp_path / "none")).startswith(f"RUN: {tmp_path}/none has no recipe.yaml, so it is no run")
    assert not (tmp_path / "none").exists()
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"recipe": {"theorem": 1}, "prepared": None}))
    assert refused(str(tmp_path)).startswith(f"RUN: {tmp_path} is the run of a theorem, which publishes no model")


def test_a_run_without_a_snapshot_is_told(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("snapshots"))
    assert refused(str(tmp_path / "run")).startswith(f"RUN: {tmp_path}/run has published no snapshot of its FM yet")


@pytest.mark.parametrize("port", ["x", "-1", "65536", "8e3", "", "²"])
def test_a_port_that_is_none_is_told(finished: Path, port: str) -> None:
    assert refused(str(finished), f"--http={port}") == (
        f"--http: {port!r} is no port; give one from 1 to 65535, or 0 for a free one"
    )


def test_a_port_that_is_taken_is_told(finished: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        assert refused(str(finished), "--http", str(port)) == (
            f"--http: cannot listen on port {port} of 127.0.0.1 (Address already in use); "
            "give another, or 0 for a free one"
        )


def test_other_machines_get_in_only_with_a_token(finished: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7"):
        assert refused(str(finished), "--host", host).startswith(
            f"--host: {host!r} lets other machines in, which takes"
        )
    assert refused(str(finished), "--host", "example.org").startswith("--host: 'example.org' is no IP address")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "--token-file: {file} cannot be read (No such file or directory); name a file with the token"),
        (b" \n", "--token-file: found nothing; it must be one word of printable ASCII"),
        (b"two words\n", "--token-file: found 9 characters with others between; it must be one word"),
        (b"\xff\x00", "--token-file: found 2 characters with others between; it must be one word"),
        (b"x" * 4_097, "--token-file: {file} has more than 4096 bytes; name a file with the token alone"),
    ],
)
def test_a_token_that_cannot_be_one_is_told(
    finished: Path, tmp_path: Path, content: bytes | None, expected: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.touch(0o600)
        file.write_bytes(content)
    assert refused(str(finished), "--token-file", str(file)).startswith(expected.format(file=file))


def test_an_empty_token_in_the_environment_does_not_open_the_door(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXFM_TOKEN", "")
    assert refused(str(finished)).startswith("EXFM_TOKEN: found nothing; it must be one word")


def test_a_token_file_that_others_can_read_is_warned_of(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o644)
    result = CliRunner().invoke(app, ["serve", str(finished), "--token-file", f"{tmp_path}/token", "--http", "x"])
    warning, error = result.stderr.strip().splitlines()
    assert warning == f"exfm: --token-file: others can read {tmp_path}/token; chmod 600 keeps the token to you"
    assert error.startswith("exfm: --http: 'x' is no port")


@pytest.mark.parametrize("option", ["--max-bytes", "--max-rows", "--max-history"])
def test_no_option_lifts_a_limit(finished: Path, option: str) -> None:
    for value in ("0", "-1", "inf", str(2**40)):
        assert CliRunner().invoke(app, ["serve", str(finished), f"{option}={value}"]).exit_code == 2


def test_a_cluster_that_can_never_hold_the_replicas_is_told() -> None:
    three = ResourcesConfig(fm_replicas=3, gpus_per_fm=0.5)
    check_room(three, 3.0, [1.0, 1.0])
    with pytest.raises(UserError, match=r"need a CPU each and there are 2; .* resources\.fm_replicas: 2 would fit"):
        check_room(three, 2.0, [1.0, 1.0])
    with pytest.raises(
        UserError,
        match=r"^resources: 3 replicas .* room for 2; .*fm_replicas: 2 or resources\.gpus_per_fm: 0\.3333 would",
    ):
        check_room(three, 3.0, [1.0])
    check_room(ResourcesConfig(fm_replicas=3), 3.0, [])


def test_old_snapshots_are_not_collected_under_a_run_that_goes_on(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    next((tmp_path / "run" / "results").rglob("day=004.json")).unlink()
    assert refused(str(tmp_path / "run"), "--collect").startswith(f"--collect: {tmp_path}/run is not finished, and")


def test_old_snapshots_are_collected_and_trouble_is_told_once(tmp_path: Path, small_schema: Schema) -> None:
    database = database_at(tmp_path)
    for day in (1, 2):
        publish(database, small_schema, day)
    pointer, record = EmbeddedPointer(str(tmp_path / "pointer")), tmp_path / "pointer" / "latest.json"
    for day in (1, 2):
        point_to(pointer, day, now=0.0, lease_seconds=60)
    sound = record.read_bytes()
    record.write_text("no record")
    stop, told = threading.Event(), []

    def tell(line: str) -> None:
        told.append(line)
        if len(told) == 1:
            threading.Timer(0.1, lambda: record.write_bytes(sound)).start()
        else:
            stop.set()

    keep_collecting(database, pointer, DasConfig(poll_seconds=0.01), stop, tell)
    assert told == [
        f"old snapshots cannot be collected: DataError: {record} is not a pointer's record", "collected fm/day=001",
    ]  # fmt: skip
    assert database.days() == [2]


@contextmanager
def served(run: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the line that it says once it answers; killed should a test fail within."""
    command = [sys.executable, "-m", "exfm_ray.cli", "serve", str(run), "--http", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = psutil.Process(process.pid).children
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        started = children(recursive=True)
        yield process, line
        deadline = time.monotonic() + 30
        while left := [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]:
            assert time.monotonic() < deadline, f"still running: {left}"
            time.sleep(0.2)
    finally:
        for child in (*children(recursive=True), process) if process.poll() is None else ():
            child.kill()


class Caller:
    """A client that keeps one connection."""

    def __init__(self, url: str, token: str | None) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, self._headers | named)
        answer = self._connection.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_the_newest_fm_of_a_run_answers_over_http_until_it_is_stopped(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    experiment = experiment_of(RunDirectory(Location.of(str(run))))
    pinned = {path: path.read_bytes() for path in (run / "pointer").rglob("*.json")}
    assert pinned
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    features = [feature.name for feature in experiment.fm_traffic().schema.features]
    (rows, *_) = read_rows(experiment.run.days.day(4), features, 500)
    expected = Predictor.load(SnapshotDatabase(experiment.snapshots), 2).predict(rows)
    plain = json.dumps({"rows": rows.to_pylist()})
    with served(run, "--token-file", f"{tmp_path}/token", "--max-bytes", str(len(plain))) as (process, line):
        found = re.fullmatch(
            r"fm/day=002 of (\S+) answers at (\S+) \(what it takes: \S+/docs\); Ctrl-C ends it\n", line
        )
        assert found is not None, process.communicate(timeout=60)
        assert found[1] == str(run)
        stranger, known = Caller(found[2], None), Caller(found[2], TOKEN)
        assert stranger.ask("GET", "/healthz")[0] == 200
        for path in ("/v1/snapshot", "/docs", "/openapi.json"):
            assert stranger.ask("GET", path)[0] == 401
            assert known.ask("GET", path)[0] == 200
        assert stranger.ask("POST", "/v1/predict", plain, content_type=JSON)[0] == 401

        status, headers, body = known.ask("POST", "/v1/predict", plain, content_type=JSON)
        assert (status, headers["x-exfm-snapshot"], json.loads(body)["snapshot"]) == (200, "fm/day=002", "fm/day=002")
        as_json = [line["click"] for line in json.loads(body)["predictions"]]
        assert as_json == expected["fm_click"].to_pylist()
        status, headers, body = known.ask("POST", "/v1/predict", to_bytes(rows), content_type=ARROW)
        assert (status, headers["x-exfm-snapshot"]) == (200, "fm/day=002")
        assert from_bytes(body).equals(expected)

        status, _, body = known.ask("POST", "/v1/predict", plain + " ", content_type=JSON)
        assert (status, json.loads(body)["detail"]) == (
            413, f"body: more than {len(plain)} bytes; send fewer rows per request",
        )  # fmt: skip
        pieces = (b" " * 10_000 for _ in range(len(plain) // 10_000 + 100))
        assert Caller(found[2], TOKEN).ask("POST", "/v1/predict", pieces, content_type=JSON)[0] == 413

        shutil.move(finished.parent / "later", run / "snapshots" / "fm" / "day=003")
        while (newest := json.loads(known.ask("GET", "/v1/snapshot")[2]))["snapshot"] == "fm/day=002":
            time.sleep(0.1)
        assert (newest["snapshot"], newest["snapshot_day"]) == ("fm/day=003", 3)
        assert {path: path.read_bytes() for path in pinned} == pinned  # a simulation's pointer is not moved

        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, output, errors) == (0, "", "")
        with pytest.raises(ConnectionError):
            stranger.ask("GET", "/healthz")
