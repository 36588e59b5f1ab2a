"""The command that runs a recipe, as a process that may be killed and started again."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

RUN_SECONDS = 1_500
"""far more than a run takes on two very busy cores: longer means that it hangs"""


SPEAK_SECONDS = 30.0
"""for a process to speak in the place of one that is gone"""


class Driver:
    """`exfm run RECIPE --out OUT [--address ADDRESS]`; what it says goes into a file beside OUT.

    Args:
        inside: what a command begins with that runs on another host.
    """

    def __init__(self, recipe: Path, out: Path, address: str | None, inside: Sequence[str] = ()) -> None:
        self._command = [*inside, sys.executable, "-m", "exfm_ray.cli", "run", str(recipe), "--out", str(out)]
        self._said = out.with_name(f"{out.name}.txt")
        self.out = out
        self.address = address
        self.start()

    def start(self) -> None:
        """The same command, for the first time or once more, where `address` says now."""
        options = ["--address", self.address] if self.address else []
        with open(self._said, "a") as said:
            self.process = subprocess.Popen([*self._command, *options], stdout=said, stderr=said)

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

    def fail(self, seconds: float) -> list[str]:
        """Wait so long for the end, which is a failure; returns the lines that tell of it, Ray's own left out."""
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still ran after {seconds} s: {self.said()}") from None
        assert code == 1, (code, self.said())
        deadline = time.monotonic() + SPEAK_SECONDS
        while not (told := [line for line in self.said().splitlines() if line.startswith("exfm: ")]):
            assert time.monotonic() < deadline, f"ended without a word: {self.said()}"
            time.sleep(0.1)
        return told

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Until it has; fails where the run ends before."""
        while not happened():
            assert self.is_running, f"the run ended too early: {self.said()}"
            time.sleep(0.01)

    def said(self) -> str:
        return self._said.read_text()
