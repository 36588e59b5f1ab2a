"""A real head node on loopback, with the job API and token authentication, for the time of some tests."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = 120.0
CPUS = 6
"""told to Ray, which the parts of a recipe share; more than there may be"""


class Head:
    """`ray start --head`, in a process group and a directory of its own beside any other Ray of the machine."""

    def __init__(self, token: str) -> None:
        self.token = token
        # the paths of Ray's sockets must be short
        self._directory = Path(tempfile.mkdtemp(prefix="head-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        ports = {
            "port": free_port(),
            "dashboard-port": self.port,
            "ray-client-server-port": free_port(),
            "dashboard-agent-listen-port": free_port(),
        }
        options = [f"--{name}={number}" for name, number in ports.items()]
        options += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--include-dashboard=true"]
        options += [f"--num-cpus={CPUS}", f"--temp-dir={self._directory}", "--disable-usage-stats", "--block"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # a job's entrypoint is `python …`
        with (self._directory / "start.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", *options],
                env={**os.environ, "PATH": path, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token},
                cwd=self._directory,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self._directory / "start.log").read_text()
            assert time.monotonic() < deadline, "the head does not answer"
            time.sleep(0.2)

    def kill(self) -> None:
        """All that belongs to it, and nothing of another Ray."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(60)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _answers(self) -> bool:
        request = urllib.request.Request(f"{self.address}/api/jobs/", headers={"authorization": f"Bearer {self.token}"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10):
                return True
        except (OSError, urllib.error.HTTPError):
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
