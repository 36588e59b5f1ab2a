"""A ZooKeeper server of this machine alone, for tests."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError

JAR = Path("/usr/share/java/zookeeper.jar")
"""of Debian's package; its manifest names the other jars"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class ZooKeeperServer:
    """Keeps its data in a directory, so that it can be killed and started again.

    Args:
        member: its number among the `members` of an ensemble, each `host:port:port`; none: it stands alone.
    """

    def __init__(self, directory: Path, member: int = 0, members: Mapping[int, str] = MappingProxyType({})) -> None:
        if shutil.which("java") is None or not JAR.is_file():
            pytest.skip("no ZooKeeper server here; `make zookeeper` installs it")
        self._directory, self._port = directory, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.hosts = f"127.0.0.1:{self._port}"
        (directory / "data").mkdir(parents=True)
        (directory / "data" / "myid").write_text(str(member))
        self._config = directory / "zoo.cfg"
        settings = {
            "tickTime": 100,
            "minSessionTimeout": 200,
            "maxSessionTimeout": 20_000,
            "dataDir": directory / "data",
            "clientPort": self._port,
            "clientPortAddress": "127.0.0.1",
            "admin.enableServer": "false",
            "maxClientCnxns": 100,
            "4lw.commands.whitelist": "srvr",
            "initLimit": 50,
            "syncLimit": 20,
            **{f"server.{number}": address for number, address in members.items()},
        }
        self._config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def start(self) -> None:
        """Return once it opens sessions."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        # Without forceSync a change outlives the process but perhaps not the machine, which no test takes down.
        java = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no"]
        main = ["-cp", str(JAR), "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self._config)]
        with open(self._directory / "server.log", "ab") as log:
            self._process = subprocess.Popen([*java, *main], stdout=log, stderr=log)

    def wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 60
        while True:
            try:
                # It listens before it answers, and then lets the first client wait for its whole time-out.
                client = KazooClient(self.hosts, timeout=0.5)
                client.start(timeout=2)
                client.stop()
                client.close()
                return
            except KazooTimeoutError:
                said = (self._directory / "server.log").read_text()
                assert self._process.poll() is None, said
                assert time.monotonic() < deadline, said

    def kill(self) -> None:
        """As `kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def leads(self) -> bool:
        """Whether it is the leader of its ensemble."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
            connection.sendall(b"srvr")
            return b"Mode: leader" in connection.makefile("rb").read()

    def pause(self) -> None:
        """Connections stay, answers do not come."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
