"""Three hosts on one machine: network namespaces with addresses of their own, on one bridge, a node of Ray in each.

They share the machine's files, as the hosts of a cluster share the storage of their run directory.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.chaos.nodes import HEAD_CPUS, OTHER_CPUS
from tests.chaos.processes import family, title

NET = "10.213.97"
PORT = 6_379
NOTICED_SOON = (
    "RAY_health_check_initial_delay_ms=2000",
    "RAY_health_check_period_ms=1000",
    "RAY_health_check_timeout_ms=3000",
    "RAY_health_check_failure_threshold=4",
)
"""a node is given up after some 15 seconds of silence, not a minute"""
WITH_TOKEN = ("RAY_AUTH_MODE=token", f"RAY_AUTH_TOKEN={secrets.token_hex(32)}", "RAY_USAGE_STATS_ENABLED=0")
JOIN_SECONDS, LEAVE_SECONDS = 300, 120


class Host:
    """A namespace, and the node of Ray in it.

    Args:
        bridge: that its cable leads to.
    """

    def __init__(self, number: int, bridge: str) -> None:
        self.name, self.cable, self.address = f"{bridge}-{number}", f"{bridge}v{number}", f"{NET}.{number}"
        self._is_head = number == 1
        inside = f"{bridge}p{number}"
        ip("netns", "add", self.name)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", inside, "netns", self.name)
        ip("link", "set", self.cable, "master", bridge, "up")
        ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", inside)
        ip("-n", self.name, "link", "set", inside, "up")
        ip("-n", self.name, "link", "set", "lo", "up")
        self._node: subprocess.Popen[bytes] | None = None

    @property
    def inside(self) -> list[str]:
        """What a command on this host begins with."""
        return ["ip", "netns", "exec", self.name, "env", *WITH_TOKEN, *NOTICED_SOON]

    def start(self, log: Path) -> None:
        """Let its node of Ray join, or found, the cluster."""
        if self._is_head:
            role = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--num-cpus={HEAD_CPUS}"]
        else:
            role = [f"--address={NET}.1:{PORT}", f"--num-cpus={OTHER_CPUS}"]
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", *role, f"--node-ip-address={self.address}"]
        ray += ["--object-store-memory=150000000", "--block"]
        with open(log, "a") as said:
            self._node = subprocess.Popen([*self.inside, *ray], stdout=said, stderr=said)

    def processes(self) -> list[psutil.Process]:
        return family(self._node.pid) if self._node is not None else []

    def runs(self, name: str) -> bool:
        """Whether a process of Ray that is called so runs here."""
        return any(title(process).startswith(name) for process in self.processes())

    @property
    def has_ended(self) -> bool:
        """Whether its node of Ray has."""
        return self._node is not None and self._node.poll() is not None

    def cut_off(self) -> None:
        ip("link", "set", self.cable, "down")

    def bring_back(self) -> None:
        ip("link", "set", self.cable, "up")

    def wait_until_left(self) -> None:
        """A node that was given up ends when it hears of that; whoever supervises it starts it anew."""
        assert self._node is not None
        self._node.wait(timeout=LEAVE_SECONDS)

    def close(self) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self._node is not None:
            self._node.kill()
            self._node.wait()
        ip("netns", "delete", self.name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextmanager
def hosts(count: int, log: Path) -> Iterator[list[Host]]:
    """A cluster of so many hosts, the head first; the test is skipped where it may not make them."""
    bridge, opened = f"exfm{os.getpid() % 10_000}", list[Host]()
    try:
        ip("link", "add", bridge, "type", "bridge")
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        pytest.skip(f"network namespaces cannot be made here: {said.strip()}")
    try:
        ip("link", "set", bridge, "up")
        for number in range(1, count + 1):
            opened.append(Host(number, bridge))
            opened[-1].start(log)
            _wait_until_joined(opened, log)
        yield opened
    finally:
        for host in reversed(opened):
            host.close()
        ip("link", "delete", bridge)


def _wait_until_joined(opened: list[Host], log: Path) -> None:
    """Until the newest has; it is started anew where Ray gives it up, as on a machine too busy for its half minute."""
    deadline = time.monotonic() + JOIN_SECONDS
    while alive(opened[0]) != len(opened):
        assert time.monotonic() < deadline, f"node {len(opened)} did not join: {log.read_text()}"
        if opened[-1].has_ended:
            opened[-1].start(log)
        time.sleep(1)


COUNT = """
import sys
from ray._private.state import GlobalState
from ray._raylet import GcsClientOptions
options = GcsClientOptions.create(sys.argv[1], None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
state = GlobalState()
state._initialize_global_state(options)
print(sum(node["Alive"] for node in state.node_table()))
"""


def alive(head: Host) -> int:
    """Nodes that the cluster knows and has not given up; 0 while it does not answer."""
    asked = [*head.inside, sys.executable, "-c", COUNT, f"{head.address}:{PORT}"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    return int(said[-1]) if said else 0
