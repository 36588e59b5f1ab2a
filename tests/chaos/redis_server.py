"""A Redis server of this machine alone, where a head keeps what it must not forget."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.das.zookeeper_server import free_port

START_SECONDS = 60.0


class RedisServer:
    """Answers on loopback from its construction on.

    Args:
        directory: of its files.
    """

    def __init__(self, directory: Path) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip("no Redis server here; `make redis` installs it")
        self._port = free_port()
        directory.mkdir()
        command = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(directory)]
        with open(directory / "server.log", "wb") as log:
            self._process = subprocess.Popen([*command, "--appendonly", "yes"], stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, (directory / "server.log").read_text()
            time.sleep(0.05)

    @property
    def address(self) -> str:
        """As `RAY_REDIS_ADDRESS` takes it."""
        return f"127.0.0.1:{self._port}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
