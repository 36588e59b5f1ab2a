"""A run of seconds in this process, to be made again where something has gone wrong with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from exfm_ray.cli import app


@dataclass(frozen=True)
class SmallRun:
    """A recipe, and the directory of a finished run of it."""

    recipe: Path
    out: Path

    def again(self, out: Path) -> Any:
        """What `exfm run` says and gives in another directory."""
        return CliRunner().invoke(app, ["run", str(self.recipe), "--out", str(out)])

    @property
    def results(self) -> bytes:
        return (self.out / "results.jsonl").read_bytes()
