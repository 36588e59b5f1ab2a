"""A real head node on loopback, with the job API and token authentication, and nodes that join it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.das.zookeeper_server import free_port

START_SECONDS = 300.0


class Head:
    """`ray start --head`, in process groups and a directory of its own beside any other Ray of the machine.

    Args:
        token: that everyone must show.
        cpus: that Ray is told of, which the parts of a recipe share; more than there may be.
    """

    def __init__(self, token: str, cpus: int) -> None:
        self.token, self._cpus = token, cpus
        self.port, self._gcs_port = free_port(), free_port()
        # the paths of Ray's sockets must be short
        self._directory = Path(tempfile.mkdtemp(prefix="head-", dir="/tmp"))
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Of the job API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def gcs_address(self) -> str:
        """That drivers and nodes attach to."""
        return f"127.0.0.1:{self._gcs_port}"

    def environment(self) -> dict[str, str]:
        """Of a process that knows the token."""
        patience = {"RAY_raylet_start_wait_time_s": f"{START_SECONDS:.0f}"}
        return {**os.environ, **patience, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def start(self) -> None:
        """Return once the job API answers."""
        ports = {"port": self._gcs_port, "dashboard-port": self.port, "ray-client-server-port": free_port()}
        options = [f"--{name}={number}" for name, number in ports.items()]
        options += ["--head", "--dashboard-host=127.0.0.1", "--include-dashboard=true"]
        self._start([*options, f"--temp-dir={self._directory}", f"--num-cpus={self._cpus}"])
        self._wait(1)

    def join(self, cpus: int, resources: str = "{}", inside: Sequence[str] = ()) -> None:
        """Add a node, and return once it is there: two that start at once may take the same names for their sockets.

        Args:
            resources: custom ones, as JSON.
            inside: a command that runs the one behind it, such as `unshare`.
        """
        self._start([f"--address={self.gcs_address}", f"--num-cpus={cpus}", f"--resources={resources}"], inside)
        self._wait(len(self._processes))

    def listed(self, kind: str) -> list[dict[str, Any]]:
        """Ray's own list of nodes, or of actors."""
        answer = json.loads(self.ask(f"/api/v0/{kind}?detail=1&limit=1000"))
        found: list[dict[str, Any]] = answer["data"]["result"]["result"]
        return found

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> bytes:
        """What the dashboard answers."""
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        request = urllib.request.Request(f"{self.address}{path}", method=method, data=body, headers=headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            content: bytes = answer.read()
            return content

    def kill(self) -> None:
        """All that belongs to it, and nothing of another Ray."""
        for process in reversed(self._processes):
            os.killpg(process.pid, signal.SIGKILL)  # SIGTERM would take half a minute
            process.wait(60)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self, options: list[str], inside: Sequence[str] = ()) -> None:
        own = ["--node-ip-address=127.0.0.1", f"--dashboard-agent-listen-port={free_port()}", "--disable-usage-stats"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # a job's entrypoint is `python …`
        command: list[Any] = [*inside, sys.executable, "-m", "ray.scripts.scripts", "start", *own, *options, "--block"]
        with self._log.open("ab") as log:
            environment = self.environment() | {"PATH": path}
            process = subprocess.Popen(
                command, env=environment, cwd=self._directory, stdout=log, stderr=log, start_new_session=True
            )
        self._processes.append(process)

    def _wait(self, nodes: int) -> None:
        """Until so many nodes are there."""
        deadline = time.monotonic() + START_SECONDS
        while self._nodes() < nodes:
            assert all(process.poll() is None for process in self._processes), self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.2)

    @property
    def _log(self) -> Path:
        return self._directory / "start.log"

    def _nodes(self) -> int:
        """None while the job API does not answer."""
        try:
            self.ask("/api/jobs/")
            return len(self.listed("nodes"))
        except OSError:
            return 0
