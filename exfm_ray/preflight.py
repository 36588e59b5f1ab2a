"""What a recipe and its data must agree on, checked before anything is started or written."""

import os
import shutil
from collections.abc import Callable, Iterator

from exfm_ray.cascade.plan import check_cascade
from exfm_ray.config import (
    MULTI_TASK_TYPES,
    DminModel,
    FeedbackConfig,
    ModelConfig,
    Recipe,
    VerticalModelConfig,
    VocabularyConfig,
)
from exfm_ray.data.dataset import Dataset
from exfm_ray.errors import UserError
from exfm_ray.mends import Mend, first_fit, mend_words, with_workers
from exfm_ray.schema import Schema

BYTES_PER_PARAMETER = 4


def check_recipe(recipe: Recipe, data: Dataset) -> None:
    """Compare every name and day of the recipe with the data.

    Raises:
        UserError: the first disagreement, in one line.
    """
    for index, vm in enumerate(recipe.vms):
        _check_vm(f"vms.{index} ({vm.name})", vm, data)
    _check_compiler(recipe)
    tasks = data.schema.tasks
    if len(tasks) > 1 and recipe.fm.model.type not in MULTI_TASK_TYPES:
        raise UserError(
            f"fm.model.type: {recipe.fm.model.type!r} predicts one task but the data has {len(tasks)} "
            f"({', '.join(tasks)}); choose {' or '.join(MULTI_TASK_TYPES)}, or leave one task in data.tasks"
        )
    try:
        read_by_fm = data.schema.without(recipe.fm.exclude)
    except ValueError as error:
        raise UserError(f"fm.exclude: {error}") from error
    _check_model("fm.model", recipe.fm.model, read_by_fm, len(tasks))
    for task in recipe.distill.tasks:
        if task not in tasks:
            raise UserError(f"distill.tasks: {task!r} is no task of the data; choose from {', '.join(tasks)}")
    if recipe.das.feedback is not None:
        _check_feedback(recipe.das.feedback, data.schema)
    if recipe.vocabulary is not None:
        _check_vocabulary(recipe, recipe.vocabulary, data.schema)
    check_cascade(recipe)
    first, supervised = recipe.first_vm_day, recipe.first_supervised_day
    if first < supervised:
        raise UserError(
            f"evaluate.train_from_day: {first} has no supervision; the first supervised day is {supervised} "
            "(fm.train_from_day + 1 + fm.staleness_days)"
        )
    if first >= data.days:
        raise UserError(
            f"data: {data.days} days are too few to train VMs from day {first} on and to evaluate them one day later; "
            f"at least {first + 1} are needed: add days, or lower fm.train_from_day, fm.staleness_days or "
            "evaluate.train_from_day"
        )


def _check_compiler(recipe: Recipe) -> None:
    sections = {"fm": recipe.fm.optimizer} | {f"vms.{index}": vm.optimizer for index, vm in enumerate(recipe.vms)}
    compiler = os.environ.get("CXX", "g++")
    for section, optimizer in sections.items():
        if optimizer.compile and shutil.which(compiler) is None:
            raise UserError(
                f"{section}.optimizer.compile: true needs a C++ compiler, but there is no {compiler!r} here; "
                "install one, name another in the environment variable CXX, or choose false"
            )


def check_memory(recipe: Recipe, data: Dataset, machine_bytes: int) -> None:
    """Compare the parameters of each VM, of which a worker trains one at a time at least, with one machine's memory.

    Several workers of a VM hold its parameters each.

    Optimizers' states and all else come on top, so that what is told here cannot be mended by luck.

    Args:
        machine_bytes: of main memory.

    Raises:
        UserError: those of one do not fit; says the smallest change with which they do.
    """
    for vm in recipe.vms:
        if (needed := memory_needed(vm, recipe, data.schema)) > machine_bytes:
            mends = memory_mends(vm, lambda other: memory_needed(other, recipe, data.schema) <= machine_bytes)
            raise UserError(
                f"vms.{vm.name}.model: its parameters take {needed / 2**30:.1f} GiB{_in_each(vm)} and this machine has "
                f"{machine_bytes / 2**30:.1f}; {mend_words(mends, 'give the --address of a cluster')}"
            )


def memory_needed(vm: VerticalModelConfig, recipe: Recipe, schema: Schema) -> int:
    """Bytes of a VM's parameters, in all its workers."""
    counted = recipe.vocabulary  # whose tables are as small as can be, since nobody knows yet how large they become
    inputs = (schema if counted is None else schema.counted(but=counted.hashed)).for_vm()
    return _parameters(vm.model, inputs, tasks=1) * BYTES_PER_PARAMETER * vm.workers


def _in_each(vm: VerticalModelConfig) -> str:
    return f" in {vm.workers} workers together" if vm.workers > 1 else ""


def memory_mends(vm: VerticalModelConfig, fits: Callable[[VerticalModelConfig], bool]) -> Iterator[Mend]:
    """The most workers and the largest width of embeddings with which a VM fits, if any.

    Args:
        fits: whether a VM does.
    """
    workers = first_fit(range(vm.workers - 1, 0, -1), lambda count: fits(with_workers(vm, count)))
    if workers is not None:
        yield Mend(f"vms.{vm.name}.workers", workers)
    smaller = range(vm.model.embedding_dim - 1, 0, -1)
    dim = first_fit(smaller, lambda dim: _fits_with(vm, dim, fits))
    if dim is not None:
        yield Mend(f"vms.{vm.name}.model.embedding_dim", dim)


def _fits_with(vm: VerticalModelConfig, dim: int, fits: Callable[[VerticalModelConfig], bool]) -> bool:
    """Whether a VM fits with another width of embeddings; none does that the model does not allow."""
    try:
        return fits(vm.model_copy(update={"model": vm.model.model_copy(update={"embedding_dim": dim})}))
    except ValueError:
        return False


def _check_vm(where: str, vm: VerticalModelConfig, data: Dataset) -> None:
    schema = data.schema
    if vm.domain >= len(schema.domains):
        raise UserError(
            f"{where}.domain: {vm.domain} is not in the data; its domains are 0 to {len(schema.domains) - 1} "
            f"({', '.join(schema.domains)})"
        )
    for field, value, known in (("stage", vm.stage, schema.stages), ("task", vm.task, schema.tasks)):
        if value not in known:
            raise UserError(f"{where}.{field}: {value!r} is not in the data; choose one of {', '.join(known)}")
    _check_model(f"{where}.model", vm.model, schema.for_vm(), tasks=1)


def _check_feedback(feedback: FeedbackConfig, schema: Schema) -> None:
    for task in feedback.windows:
        if task not in schema.tasks:
            raise UserError(
                f"das.feedback.windows: {task!r} is no task of the data; choose from {', '.join(schema.tasks)}"
            )
    if not schema.has_delays:
        raise UserError(
            "das.feedback: is given, but the data does not say when its labels came (no delay_<task> columns); leave "
            "das.feedback out, or choose data that does, such as type drift"
        )


def _check_vocabulary(recipe: Recipe, vocabulary: VocabularyConfig, schema: Schema) -> None:
    hashed = [feature.name for feature in schema.counted().counted_features()]
    for field, names in (("min_counts", vocabulary.min_counts), ("hashed", vocabulary.hashed)):
        for name in names:
            if name not in hashed:
                raise UserError(
                    f"vocabulary.{field}: {name!r} is no hash-coded feature of the data; choose from "
                    f"{', '.join(hashed)}"
                )
    if len({*vocabulary.hashed}) == len(hashed):
        raise UserError(
            "vocabulary: no feature is left to count, since the data has no other hash-coded ones than those in "
            f"vocabulary.hashed ({', '.join(hashed) or 'none'}); leave vocabulary out, or take one from hashed"
        )
    last = recipe.first_vm_day - 1
    if not vocabulary.grow and recipe.counted_through_day > last:
        raise UserError(
            f"vocabulary.through_day: {recipe.counted_through_day} would know what VMs meet later, since they train "
            f"from day {recipe.first_vm_day} on; at most {last} is allowed"
        )


def _check_model(where: str, config: ModelConfig, schema: Schema, tasks: int) -> None:
    if isinstance(config, DminModel) and (problem := config.disagreement(schema)) is not None:
        raise UserError(f"{where}.{problem}")
    try:
        _parameters(config, schema, tasks)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _parameters(config: ModelConfig, schema: Schema, tasks: int) -> int:
    """Of a model that is not built, unless that raises a ValueError."""
    # slow to import, and needed only once a recipe has passed all that is quick to check
    from exfm_ray.models.build import parameters_of

    return parameters_of(config, schema, tasks)
