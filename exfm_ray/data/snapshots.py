"""Snapshots: published, immutable model parameters, and the append-only database that holds them (the paper's SPD).

A snapshot is a committed directory `<model>/day=NNN` with one safetensors file; its manifest's `about` says what
the parameters mean. Trainers publish, the DAS only reads.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save

from exfm_ray.config import ModelConfig
from exfm_ray.data.commit import (
    MANIFEST,
    CommittedFile,
    Stopwatch,
    commit,
    committed,
    read_file,
    require,
    write_file,
)
from exfm_ray.data.location import Location
from exfm_ray.data.vocabulary import Vocabularies, Vocabulary, vocabularies_in, vocabulary_tensors, without_vocabularies
from exfm_ray.errors import DataError
from exfm_ray.models.build import build_model, shapes_alone
from exfm_ray.models.model import Model
from exfm_ray.schema import Schema

DAY = re.compile(r"day=([0-9]{3,})")
CONDEMNED = "condemned"
"""a file that is put before a deletion starts and goes last, so that a deletion that was cut off is told from a
publication under way"""


class SnapshotFacts(BaseModel):
    """What it takes to rebuild a model from its parameters, and what it has seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelConfig
    inputs: Schema
    tasks: tuple[str, ...]
    trained_through: int
    """the last day that the model was trained on"""
    rows_seen: int
    parameters: int


@dataclass(frozen=True)
class SnapshotDatabase:
    """The snapshots of one model: publish, list, get by day, delete."""

    root: Location

    def directory(self, day: int) -> Location:
        return self.root.day(day)

    def days(self, after: int = -1) -> list[int]:
        """Days through which a published snapshot is trained, in order; nothing is read of the snapshots themselves.

        Args:
            after: only later days, so that a poll asks the store about new snapshots alone.
        """
        return [day for day in self._directories() if day > after and (self.directory(day) / MANIFEST).is_file()]

    def condemned_days(self) -> list[int]:
        """Days whose deletion was begun and not finished, in order."""
        return [day for day in self._directories() if (self.directory(day) / CONDEMNED).is_file()]

    def _directories(self) -> list[int]:
        found = (DAY.fullmatch(child.name) for child in self.root.children())
        return sorted(int(match[1]) for match in found if match)

    def publish(
        self,
        model: Model,
        facts: SnapshotFacts,
        rows: int,
        stopwatch: Stopwatch,
        vocabularies: Vocabularies | None = None,
    ) -> None:
        """Make a snapshot exist, at once; publishing a day again changes nothing.

        Args:
            rows: that the day itself had.
            stopwatch: started when the day's training started.
            vocabularies: of its counted features; a snapshot answers with those that it was trained with.
        """
        directory = self.directory(facts.trained_through)
        if committed(directory) is None:
            tensors = model.state_dict() | vocabulary_tensors(vocabularies or {})
            file = write_file(directory, "parameters", ".safetensors", save(contiguous(tensors)), rows)
            commit(directory, [file], facts.model_dump(mode="json"), stopwatch)

    def load(self, day: int) -> tuple[Model, SnapshotFacts]:
        """A published model, ready to predict.

        Raises:
            DataError: it is not published, cannot be understood, or its bytes have changed.
        """
        facts, file = self.described(day)
        return restored(facts, parsed(read_file(self.directory(day), file))), facts

    def vocabularies(self, day: int) -> dict[str, Vocabulary]:
        """Those that a published model was trained with.

        Raises:
            DataError: as `load`.
        """
        facts, file = self.described(day)
        return vocabularies_in(parsed(read_file(self.directory(day), file)), facts.inputs)

    def described(self, day: int) -> tuple[SnapshotFacts, CommittedFile]:
        """What a published snapshot says of itself, and its file of parameters.

        Raises:
            DataError: it is not published, or what it says cannot be understood, as with a model of unknown type.
        """
        directory = self.directory(day)
        manifest = require(directory)
        try:
            facts = SnapshotFacts.model_validate(manifest.about)
            (file,) = manifest.files
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(f"{directory} is not a snapshot that can be read here: {where}: {first['msg']}") from error
        except ValueError as error:
            raise DataError(f"{directory} has {len(manifest.files)} files; a snapshot has one") from error
        if facts.trained_through != day:
            raise DataError(f"{directory} says that it is trained through day {facts.trained_through}")
        return facts, file

    def delete(self, day: int) -> None:
        """Make a snapshot cease to exist, at once, and then remove its files.

        Deleting one whose deletion was cut off finishes it; nothing happens where there is none.
        """
        directory = self.directory(day)
        if directory.is_directory():
            (directory / CONDEMNED).write(b"")
            (directory / MANIFEST).delete()
            for child in directory.children():
                if child.name != CONDEMNED:
                    child.delete()
            directory.delete()


def parsed(content: bytes) -> dict[str, torch.Tensor]:
    """Parameters as they were published.

    Raises:
        DataError: these are no safetensors.
    """
    try:
        tensors: dict[str, torch.Tensor] = load(content)
    except SafetensorError as error:
        raise DataError(f"the parameters are no safetensors: {error}") from error
    return tensors


def mapped(file: Path) -> dict[str, torch.Tensor]:
    """Parameters as they were published, mapped: their pages are read when they are used, and shared by processes.

    Raises:
        DataError: these are no safetensors.
    """
    try:
        tensors: dict[str, torch.Tensor] = load_file(file)
    except SafetensorError as error:
        raise DataError(f"the parameters are no safetensors: {error}") from error
    return tensors


def restored(facts: SnapshotFacts, tensors: Mapping[str, torch.Tensor]) -> Model:
    """A published model, ready to predict, that takes these tensors for its own.

    Tables are kept where they lie, since rows are gathered from them alike anywhere. The other parameters are copied:
    the last bits of a matrix product depend on how its operands are aligned, and in a file they lie anyhow.

    Raises:
        DataError: the tensors are not this model's.
    """
    tensors = without_vocabularies(tensors)
    own = {name: tensor if name.rsplit(".", 1)[-1] == "table" else tensor.clone() for name, tensor in tensors.items()}
    try:
        with shapes_alone():  # the parameters are replaced at once
            model = build_model(facts.model, facts.inputs, len(facts.tasks))
        wanted = model.state_dict()
        model.load_state_dict(own, assign=True)
    except (ValueError, TypeError, LookupError, AssertionError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"the parameters do not fit the model {facts.model.type}: {reason}") from error
    for name, tensor in tensors.items():
        if tensor.dtype != wanted[name].dtype:
            raise DataError(
                f"parameter {name} of the model {facts.model.type} is {tensor.dtype}, not {wanted[name].dtype}"
            )
    return model.eval()


def contiguous(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors as safetensors wants them: on the CPU, whole and unshared."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
