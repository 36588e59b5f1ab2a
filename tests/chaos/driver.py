"""The command that runs a recipe, as a process that may be killed and started again."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

RUN_SECONDS = 1_500
"""far more than a run takes on two very busy cores: longer means that it hangs"""


class Driver:
    """`exfm run RECIPE --out OUT [--address ADDRESS]`; what it says goes into a file beside OUT.

    Args:
        inside: what a command begins with that runs on another host.
    """

    def __init__(self, recipe: Path, out: Path, address: str | None, inside: Sequence[str] = ()) -> None:
        options = ["--address", address] if address else []
        run = [sys.executable, "-m", "exfm_ray.cli", "run", str(recipe), "--out", str(out), *options]
        self._command = [*inside, *run]
        self._said = out.with_name(f"{out.name}.txt")
        self.out = out
        self.start()

    def start(self) -> None:
        """The same command, for the first time or once more."""
        with open(self._said, "a") as said:
            self.process = subprocess.Popen(self._command, stdout=said, stderr=said)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def finish(self) -> bytes:
        """Wait for the end; returns results.jsonl."""
        try:
            code = self.process.wait(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {RUN_SECONDS} s: {self.said()}") from None
        assert code == 0, self.said()
        return (self.out / "results.jsonl").read_bytes()

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Until it has; fails where the run ends before."""
        while not happened():
            assert self.is_running, f"the run ended too early: {self.said()}"
            time.sleep(0.01)

    def said(self) -> str:
        return self._said.read_text()
