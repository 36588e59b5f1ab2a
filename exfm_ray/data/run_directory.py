"""The layout of a run directory; every room finds its inputs and outputs by these names."""

import hashlib
import json
import tempfile
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, computed_field, model_validator

from exfm_ray.config import Recipe
from exfm_ray.data.commit import Made
from exfm_ray.data.location import Location
from exfm_ray.data.prepare import WORK
from exfm_ray.data.store.stored import Kind, Stored
from exfm_ray.errors import DataError
from exfm_ray.schema import Method

STUDY_FILE = "study.db"
"""a study's trials, where they have no storage elsewhere: a database of SQLite"""


class Outcome(BaseModel):
    """One evaluated day of one VM, method and seed, or of one cascade: its line of results.jsonl or cascade.jsonl, and
    who evaluated it.

    It is written with its checksum and read with `read_outcome`, for it is a commit of its own, without a manifest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: dict[str, Any]
    made: Made

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sha256(self) -> str:
        """Of the line."""
        return _line_checksum(self.line)

    @model_validator(mode="before")
    @classmethod
    def _is_as_it_was_written(cls, values: Any) -> Any:
        if isinstance(values, dict) and "sha256" in values:
            if values["sha256"] != _line_checksum(values.get("line")):
                raise ValueError("its line has changed since it was written: its checksum differs")
            return {name: value for name, value in values.items() if name != "sha256"}
        return values


def _line_checksum(line: Any) -> str:
    return hashlib.sha256(json.dumps(line).encode()).hexdigest()


def read_outcome(place: Location) -> Outcome:
    """An evaluated day that was written.

    Raises:
        DataError: it is not as it was written.
    """
    try:
        return Outcome.model_validate_json(place.read())
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise DataError(
            f"{place} cannot be read: {reason}; delete that file and start the same command again, which makes it anew"
        ) from error


@dataclass(frozen=True)
class RunDirectory:
    """Names inside `--out`."""

    root: Location

    @property
    def recipe_file(self) -> Location:
        return self.root / "recipe.yaml"

    @property
    def results_file(self) -> Location:
        return self.root / "results.jsonl"

    @property
    def cascade_file(self) -> Location:
        return self.root / "cascade.jsonl"

    @property
    def report_file(self) -> Location:
        return self.root / "report" / "index.html"

    @property
    def commands(self) -> Location:
        return self.root / "commands"

    @property
    def starts(self) -> Location:
        return self.root / "starts"

    @property
    def help(self) -> Location:
        return self.root / "help"

    @property
    def logs(self) -> Location:
        return self.root / "logs"

    def local_directory(self) -> Path:
        """For what must lie on this machine (logs, locks): the run directory itself, or a stand-in for a remote one."""
        if self.root.is_local:
            return Path(self.root.uri)
        return Path(tempfile.gettempdir()) / f"exfm_ray-{hashlib.sha256(self.root.uri.encode()).hexdigest()[:16]}"

    @property
    def days(self) -> Location:
        """The data set: the run's own, one in a store, or the prepared one that `recipe.yaml` names."""
        prepared = self.resolved()["prepared"]
        return Location(prepared) if prepared else self._in_store("days") or self.root / "days"

    @property
    def work(self) -> Location:
        """For what the stages of a raw log make before there are days; this run's alone, though its days may not be."""
        return (self.root if self._in_store("days") else self.days) / WORK

    def resolved(self) -> dict[str, Any]:
        """`recipe.yaml`.

        `recipe`, `versions` (package → version), `prepared` and `vocabulary` (URIs or None), `stored` (what of the run
        lies in a store, or None).
        """
        return deepcopy(_parsed(self.recipe_file.read()))

    @property
    def stored(self) -> Stored | None:
        """What of the run lies in a store."""
        held = self.resolved().get("stored") if self.recipe_file.is_file() else None
        return Stored.model_validate(held) if held else None

    def _in_store(self, kind: Kind) -> Location | None:
        stored = self.stored
        return stored.place(kind) if stored is not None else None

    def own_days(self, kind: Kind, days: Iterable[int]) -> list[int]:
        """Those of some days that are this run's; others lie in the store for other runs."""
        stored = self.stored
        return [day for day in days if stored is None or stored.needs(kind, day)]

    def is_of_a_theorem(self) -> bool:
        return self.recipe_file.is_file() and "theorem" in self.resolved()["recipe"]

    def is_of_a_study(self) -> bool:
        return self.recipe_file.is_file() and "space" in self.resolved()["recipe"]

    def is_of_a_grid(self) -> bool:
        return self.recipe_file.is_file() and "fms" in self.resolved()["recipe"]

    def of_fm(self, fm: str) -> "RunDirectory":
        """The simulation of one FM of a grid, over the grid's days."""
        return RunDirectory(self.root / f"fm={fm}")

    def fms(self) -> list["RunDirectory"]:
        """The simulations of a grid that were begun, in its order."""
        runs = [self.of_fm(fm["name"]) for fm in self.resolved()["recipe"]["fms"]]
        return [run for run in runs if run.recipe_file.is_file()]

    @property
    def simulation(self) -> "RunDirectory":
        """Of a study: its days, FM and supervision, what its trials are compared with, and the trials themselves."""
        return RunDirectory(self.root / "simulation")

    @property
    def trials_file(self) -> Location:
        """Of a study: a line per trial."""
        return self.root / "trials.jsonl"

    @property
    def chosen_file(self) -> Location:
        """Of a study: the point that it chose, as `exfm run --set-from` takes it."""
        return self.root / "chosen.json"

    @property
    def driver_file(self) -> Location:
        """Of a study: what tells it from others that share its trials."""
        return self.root / "driver.txt"

    def recipe(self) -> Recipe:
        return Recipe.model_validate(self.resolved()["recipe"])

    def supervision(self, fm: str) -> Location:
        """Of all days, by the FM."""
        return self._in_store("supervision") or self.root / "supervision" / fm

    def snapshots_of(self, fm: str) -> Location:
        """The FM's, where those of VMs are in the run itself in any case."""
        return RunDirectory(self._in_store("fm") or self.root).snapshots(fm)

    @property
    def feedback(self) -> Location:
        """The days' labels as they were known when their feedback windows had closed."""
        return self._in_store("feedback") or self.root / "feedback"

    @property
    def vocabulary(self) -> Location:
        """What is known of the ids by the end of each day: the run's own, its grid's, or one in a store."""
        shared = self.resolved().get("vocabulary") if self.recipe_file.is_file() else None
        return Location(shared) if shared else self._in_store("vocabulary") or self.root / "vocabulary"

    def vocabulary_of(self, recipe: Recipe) -> Location | None:
        """Where the simulations of a grid that count the same days keep what they know of the ids; None: nowhere."""
        if recipe.vocabulary is None:
            return None
        through = "growing" if recipe.vocabulary.grow else f"through={recipe.counted_through_day:03d}"
        return self.root / "vocabulary" / through

    def snapshots(self, model: str) -> Location:
        return self.root / "snapshots" / model

    def checkpoints(self, model: str) -> Location:
        return self.root / "checkpoints" / model

    def outcomes(self, vm: str, method: Method, seed: int) -> Location:
        return self.root / "results" / vm / method / f"seed={seed}"

    def outcome_file(self, vm: str, method: Method, seed: int, eval_day: int) -> Location:
        outcomes = self.outcomes(vm, method, seed)
        return outcomes / f"{outcomes.day(eval_day).name}.json"

    def cascade_outcome_file(self, domain: int, method: Method, seed: int, eval_day: int) -> Location:
        outcomes = self.root / "cascade" / f"domain={domain}" / method / f"seed={seed}"
        return outcomes / f"{outcomes.day(eval_day).name}.json"

    def results(self) -> list[dict[str, Any]]:
        """The lines of results.jsonl."""
        return [json.loads(line) for line in self.results_file.read().splitlines()]


@lru_cache(maxsize=16)
def _parsed(content: bytes) -> dict[str, Any]:
    """A `recipe.yaml`; a report asks for it dozens of times, and with many VMs it takes long to parse."""
    parsed = yaml.safe_load(content)
    assert isinstance(parsed, dict)
    return parsed


def snapshot_identity(snapshots: Location, day: int) -> str:
    """How supervision names the snapshot that is trained through a day: `<model>/day=NNN`."""
    return f"{snapshots.name}/{snapshots.day(day).name}"


def variant_name(vm: str, method: Method, seed: int) -> str:
    """Names a VM's variant among snapshots and checkpoints."""
    return f"{vm}-{method}-seed{seed}"
