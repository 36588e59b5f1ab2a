"""`exfm export`: one trained VM as a program that serves, checked against the model that it was made from."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from safetensors.torch import save

from exfm_ray.config import VerticalModelConfig
from exfm_ray.data.batches import day_batches
from exfm_ray.data.commit import CommittedFile, Manifest, Stopwatch, commit, committed, require, write_named_file
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory, snapshot_identity, variant_name
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts, contiguous
from exfm_ray.data.vocabulary import Vocabularies, vocabulary_tensors
from exfm_ray.errors import UserError
from exfm_ray.existing_run import experiment_of
from exfm_ray.models.build import build_model, shapes_alone
from exfm_ray.models.inputs import Inputs
from exfm_ray.models.model import Model
from exfm_ray.models.products import by_torch
from exfm_ray.models.serving import (
    UNTRACEABLE_TYPES,
    export_program,
    flat,
    input_facts,
    load_program,
    operations,
    save_program,
)
from exfm_ray.schema import METHODS, Method

Value = TypeVar("Value")

PROGRAM, PARAMETERS = "program.pt2", "parameters.safetensors"
VOCABULARY = "vocabulary.safetensors"
"""beside a program whose features are counted: `vocabulary.<feature>.ids`, ascending, and `.rows`, what the program
takes for them; for any other id it takes the last row of the feature's table"""
COMPARED_ROWS = 10_000
BATCH_SIZES = (1, 2, 7, 64, 513, 2_048)
"""of the rows compared, by turns: a single row, and sizes that vectorized loops end differently for"""


@dataclass(frozen=True)
class Choice:
    """What is exported: a published snapshot of one variant, and where to."""

    experiment: Experiment
    vm: VerticalModelConfig
    method: Method
    seed: int
    day: int
    out: Location

    @property
    def snapshots(self) -> SnapshotDatabase:
        return SnapshotDatabase(self.experiment.run.snapshots(variant_name(self.vm.name, self.method, self.seed)))

    def identity(self) -> dict[str, Any]:
        """Tells this snapshot from all others, those of other runs too."""
        manifest = require(self.snapshots.directory(self.day))
        snapshot = snapshot_identity(self.snapshots.root, self.day)
        return {"snapshot": snapshot, "snapshot_sha256": manifest.files[0].sha256}


def export(
    run: RunDirectory, vm: str, method: str | None, seed: int | None, day: int | None, out: Location | None
) -> tuple[Location, Manifest]:
    """Commit the program, parameters and vocabularies of a VM as it would be served, and say where.

    Nothing happens where the same snapshot has been exported to `out` already.

    Args:
        method: None for the VM's last one in the order of METHODS.
        seed: None for the recipe's first.
        day: that the snapshot is trained through; None for the newest.
        out: None for a directory in the run.

    Raises:
        UserError: there is no such snapshot, its architecture cannot be exported, or `out` holds something else.
        RuntimeError: the program does not predict what the model predicts.
    """
    choice = choose(run, vm, method, seed, day, out)
    earlier = _held(choice)
    if earlier is not None:
        return choice.out, earlier
    torch.set_num_threads(1)  # as every training process sets it: sums run in the same order everywhere
    stopwatch = Stopwatch.start()
    model, facts = choice.snapshots.load(choice.day)
    program = export_program(model, facts.inputs)
    _check_names(set(program.state_dict), choice.vm, facts)
    content = save_program(program)
    vocabularies = choice.snapshots.vocabularies(choice.day)
    compared = _compare(content, model, choice, vocabularies)
    about = _about(choice, facts, operations(program)) | compared
    contents = {PROGRAM: content, PARAMETERS: save(contiguous(model.state_dict()))}
    if vocabularies:
        contents[VOCABULARY] = save(contiguous(vocabulary_tensors(vocabularies)))
    files = _write(choice.out, contents)
    return choice.out, commit(choice.out, files, about, stopwatch)


def _write(out: Location, contents: Mapping[str, bytes]) -> list[CommittedFile]:
    try:
        return [write_named_file(out, name, content) for name, content in contents.items()]
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UserError(f"--out: {out} cannot be written ({reason}); name another directory") from error


def choose(
    run: RunDirectory, vm: str, method: str | None, seed: int | None, day: int | None, out: Location | None
) -> Choice:
    """Complete what was asked for by its defaults; see `export`."""
    experiment = experiment_of(run)
    recipe = experiment.recipe
    configs = {config.name: config for config in recipe.vms}
    config = configs[_one_of("VM", vm, list(configs), f"a VM of {run.root}")]
    if config.model.type in UNTRACEABLE_TYPES:
        raise UserError(
            f"VM: {vm!r} is a {config.model.type}, whose loops depend on the data, so that torch.export refuses it; "
            f"all types but {', '.join(UNTRACEABLE_TYPES)} are allowed: choose another VM"
        )
    methods = sorted(recipe.methods_of(config), key=METHODS.index)
    chosen = methods[-1] if method is None else _one_of("--method", method, methods, f"a method of {vm}")
    seed = recipe.seeds[0] if seed is None else _one_of("--seed", seed, recipe.seeds, "a seed of the run")
    name = variant_name(vm, chosen, seed)
    days = SnapshotDatabase(run.snapshots(name)).days()
    if not days:
        raise UserError(f"--day: no day of {name} is published yet; let `exfm run` train it for a day first")
    day = days[-1] if day is None else _one_of("--day", day, days, f"a published day of {name}")
    return Choice(experiment, config, chosen, seed, day, out or (run.root / "export" / name).day(day))


def _one_of(field: str, value: object, allowed: Sequence[Value], what: str) -> Value:
    for known in allowed:
        if known == value:
            return known
    raise UserError(f"{field}: {value!r} is not {what}; choose one of {', '.join(map(str, allowed))}")


def _held(choice: Choice) -> Manifest | None:
    """The same export made earlier. Whatever else lies there is not ours to sweep away."""
    if choice.out.is_file():
        raise UserError(f"--out: {choice.out} is a file; name a directory")
    manifest = committed(choice.out)
    if manifest is None:
        ours = (PROGRAM, PARAMETERS, VOCABULARY)
        foreign = [child.name for child in choice.out.children() if not child.name.startswith(ours)]
        if foreign:
            raise UserError(f"--out: {choice.out} holds {foreign[0]!r}, which is no export; name an empty directory")
        return None
    if not choice.identity().items() <= manifest.about.items():
        held = manifest.about.get("snapshot", "something else")
        raise UserError(f"--out: {choice.out} holds {held}, another snapshot or run; name an empty directory")
    return manifest


def _check_names(names: set[str], vm: VerticalModelConfig, facts: SnapshotFacts) -> None:
    """A program holds what the served model is built of, and neither distillation head nor adapter."""
    assert facts.model == vm.model, f"the snapshot is of {facts.model}, not of {vm.model}"
    with shapes_alone():
        state = build_model(facts.model, facts.inputs, len(facts.tasks)).state_dict()
    expected = {f"model.{name}" for name in state if not name.endswith("_extra_state")}
    assert names == expected, f"the program differs from the served model in {sorted(names ^ expected)}"


@torch.no_grad()
def _compare(content: bytes, model: Model, choice: Choice, vocabularies: Vocabularies) -> dict[str, Any]:
    """Load the saved program back and compare its logits with the model's on real rows, bit for bit.

    Returns:
        `compared_day` and `compared_rows`.

    Raises:
        RuntimeError: they differ, or the VM has no rows to compare on.
    """
    served = load_program(content).module()
    day, inputs = _rows(choice, vocabularies)
    for batch in _cut(inputs):
        with by_torch():  # as the program has them
            logits = model(batch)
        if not torch.equal(served(*flat(batch)), logits):
            raise RuntimeError(f"the exported program of {choice.vm.name} differs from the model on rows of day {day}")
    return {"compared_day": day, "compared_rows": len(inputs)}


def _rows(choice: Choice, vocabularies: Vocabularies) -> tuple[int, Inputs]:
    """The first rows of the latest day on which the VM has any, as the snapshot codes them."""
    traffic = choice.experiment.vm_traffic(choice.vm).with_vocabularies(vocabularies)
    for day in range(choice.experiment.days, 0, -1):
        for batch in day_batches(traffic, day, COMPARED_ROWS):
            return day, batch.inputs
    raise RuntimeError(f"no day has rows of {choice.vm.name} to compare its program on")


def _cut(inputs: Inputs) -> Iterator[Inputs]:
    """Batches of many sizes that make up the rows."""
    start, turn = 0, 0
    while start < len(inputs):
        stop = min(start + BATCH_SIZES[turn % len(BATCH_SIZES)], len(inputs))
        yield inputs.rows(start, stop)
        start, turn = stop, turn + 1


def _about(choice: Choice, facts: SnapshotFacts, called: list[str]) -> dict[str, Any]:
    """What a server has to know, and where the program is from."""
    return {
        **choice.identity(),
        "vm": choice.vm.name,
        "method": choice.method,
        "seed": choice.seed,
        "trained_through": facts.trained_through,
        "model": facts.model.model_dump(mode="json"),
        "tasks": list(facts.tasks),
        "inputs": input_facts(facts.inputs),
        "output": {"name": "logits", "dtype": "float32", "shape": ["B", len(facts.tasks)]},
        "schema": facts.inputs.model_dump(mode="json"),
        "schema_fingerprint": facts.inputs.fingerprint(),
        "parameters": facts.parameters,
        "operations": called,
    }
