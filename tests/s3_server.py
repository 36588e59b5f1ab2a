"""An S3-compatible server of this machine alone, for tests: moto's, in a process and an environment of its own.

Of its own because the client library that it brings needs an older python-dateutil than the project is tested with.
"""

import re
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from exfm_ray.data.location import Location
from tests.das.zookeeper_server import free_port

COMMAND = Path(__file__).parents[1] / ".s3" / "bin" / "moto_server"
REQUEST = re.compile(r'"(?:\x1b\[[0-9]+m)*(?P<method>[A-Z]+) (?P<path>/\S*) HTTP/1\.[01]')


class S3Server:
    """Keeps its objects in memory, and logs every request."""

    def __init__(self, directory: Path) -> None:
        if not COMMAND.is_file():
            pytest.skip("no S3-compatible server here; `make s3` installs it")
        self.port = free_port()
        self._log = directory / "requests.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it answers."""
        with open(self._log, "ab") as log:
            command = [COMMAND, "--host", "127.0.0.1", "--port", str(self.port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                self._ask("GET", "/moto-api/data.json")
                return
            except OSError:
                assert time.monotonic() < deadline, self._log.read_text()
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def bucket(self, name: str) -> Location:
        """A new bucket, as pyarrow.fs finds it."""
        self._ask("PUT", f"/{name}")
        return Location(f"s3://{name}?endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1")

    def requests(self, method: str, place: Location) -> int:
        """How often an object was asked for."""
        path = "/" + place.uri.partition("?")[0].removeprefix("s3://")
        return self._asked().count((method, path))

    def changes(self) -> int:
        """How many requests there were that may change something."""
        return sum(method not in ("GET", "HEAD") for method, _ in self._asked())

    def _asked(self) -> list[tuple[str, str]]:
        """Method and path of every request, parameters aside."""
        found = (REQUEST.search(line) for line in self._log.read_text().splitlines())
        return [(match["method"], match["path"].partition("?")[0]) for match in found if match]

    def _ask(self, method: str, path: str) -> None:
        address = f"http://127.0.0.1:{self.port}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(address, method=method), timeout=5):
            pass
