"""Snapshots: published, immutable model parameters, and the append-only database that holds them (the paper's SPD).

A snapshot is a committed directory `<model>/day=NNN` with one safetensors file; its manifest's `about` says what
the parameters mean. Trainers publish, the DAS only reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load, save

from exfm_ray.config import ModelConfig
from exfm_ray.data.commit import Stopwatch, commit, committed, read_file, require, write_file
from exfm_ray.data.location import Location
from exfm_ray.models.build import build_model
from exfm_ray.models.model import Model
from exfm_ray.schema import Schema


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
    """The snapshots of one model: publish, list, get by day."""

    root: Location

    def directory(self, day: int) -> Location:
        return self.root.day(day)

    def days(self) -> list[int]:
        """Days through which a published snapshot is trained, in order."""
        published = [child for child in self.root.children() if committed(child) is not None]
        return sorted(int(child.name.removeprefix("day=")) for child in published)

    def publish(self, model: Model, facts: SnapshotFacts, rows: int, stopwatch: Stopwatch) -> None:
        """Make a snapshot exist, at once; publishing a day again changes nothing.

        Args:
            rows: that the day itself had.
            stopwatch: started when the day's training started.
        """
        directory = self.directory(facts.trained_through)
        if committed(directory) is None:
            file = write_file(directory, "parameters", ".safetensors", save(contiguous(model.state_dict())), rows)
            commit(directory, [file], facts.model_dump(mode="json"), stopwatch)

    def load(self, day: int) -> tuple[Model, SnapshotFacts]:
        """A published model, ready to predict.

        Raises:
            DataError: it is not published, or its bytes have changed.
        """
        directory = self.directory(day)
        manifest = require(directory)
        facts = SnapshotFacts.model_validate(manifest.about)
        model = build_model(facts.model, facts.inputs, len(facts.tasks))
        model.load_state_dict(load(read_file(directory, manifest.files[0])))
        return model.eval(), facts


def contiguous(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors as safetensors wants them: on the CPU, whole and unshared."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
