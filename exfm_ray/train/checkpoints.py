"""Checkpoints: what training needs to go on after the last committed day, as if nothing had happened."""

from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load, save
from torch import nn
from torch.optim import Optimizer

from exfm_ray.data.commit import Manifest, Stopwatch, commit, committed, read_file, sweep, write_file
from exfm_ray.data.location import Location
from exfm_ray.data.snapshots import contiguous

State = Mapping[str, torch.Tensor]
"""of a module and its optimizers, by name"""


def save_checkpoint(
    place: Location,
    day: int,
    module: nn.Module,
    optimizers: Mapping[str, Optimizer],
    about: Mapping[str, Any],
    stopwatch: Stopwatch,
) -> Manifest:
    """Commit the state after `day` and delete the states before it.

    Args:
        about: counts to go on with, JSON values.
    """
    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    for name, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    directory = place.day(day)
    sweep(directory)
    file = write_file(directory, "state", ".safetensors", save(contiguous(tensors)))
    manifest = commit(directory, [file], {"day": day, **about}, stopwatch)
    for child in place.children():
        if child.name < directory.name:
            child.delete()
    return manifest


def latest_checkpoint(place: Location) -> Manifest | None:
    """The manifest of the last committed state; its `about` has the day and the counts."""
    manifests = [manifest for child in place.children() if (manifest := committed(child)) is not None]
    return max(manifests, key=lambda manifest: int(manifest.about["day"]), default=None)


def latest_state(place: Location) -> tuple[Manifest, State] | None:
    """The last committed state and its manifest, though another process may go on meanwhile and delete older ones.

    Raises:
        FileNotFoundError: it is committed and its file is not there.
    """
    manifest = latest_checkpoint(place)
    while manifest is not None:
        try:
            return manifest, _read_state(place, manifest)
        except FileNotFoundError:
            newer = latest_checkpoint(place)
            if newer == manifest:
                raise
            manifest = newer
    return None


def load_checkpoint(
    place: Location, manifest: Manifest, module: nn.Module, optimizers: Mapping[str, Optimizer]
) -> None:
    """Put a committed state into a module and its optimizers, built as they were when it was saved."""
    put_state(_read_state(place, manifest), module, optimizers)


def put_state(tensors: State, module: nn.Module, optimizers: Mapping[str, Optimizer]) -> None:
    """As `load_checkpoint`, of a state that was read."""
    module.load_state_dict(_under(tensors, "module"))
    for name, optimizer in optimizers.items():
        state: dict[int, dict[str, Any]] = {}
        for key, tensor in _under(tensors, name).items():
            index, field = key.split(".", 1)
            state.setdefault(int(index), {})[field] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _read_state(place: Location, manifest: Manifest) -> State:
    state: dict[str, torch.Tensor] = load(read_file(place.day(int(manifest.about["day"])), manifest.files[0]))
    return state


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
