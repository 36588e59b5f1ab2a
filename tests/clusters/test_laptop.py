"""The head of one machine, as clusters/README.md starts it: it takes a job on loopback, and ends with Ctrl-C."""

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.das.zookeeper_server import free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).parents[2] / "clusters" / "laptop.py"


def test_a_job_runs_and_nothing_is_left(small_recipe_file: Path, tmp_path: Path) -> None:
    port, place = free_port(), tmp_path / "fetched"
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = [sys.executable, str(SCRIPT), "--port", str(port), "--cpus", "4"]
    head = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert head.stdout is not None
        assert f"--address http://127.0.0.1:{port};" in head.stdout.readline()
        started = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
        listening = [one.laddr for process in started for one in process.net_connections() if one.status == "LISTEN"]
        assert {address.ip for address in listening if address.port == port} == {"127.0.0.1"}
        arguments = ["submit", str(small_recipe_file), "--out", str(tmp_path / "run"), "--to", str(place)]
        arguments += ["--address", f"http://127.0.0.1:{port}"]
        done = subprocess.run(
            [sys.executable, "-m", "exfm_ray.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert (place / "results.jsonl").read_bytes() == (tmp_path / "run" / "results.jsonl").read_bytes()
    finally:
        head.send_signal(signal.SIGINT)
        assert head.wait(60) == 0
    _, left = psutil.wait_procs(started, timeout=60)
    assert not left
