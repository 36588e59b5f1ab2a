"""The smallest change of a single field with which something fits that does not."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from exfm_ray.config import FoundationModelConfig, Recipe, ResourcesConfig, VerticalModelConfig

Value = TypeVar("Value")
Model = TypeVar("Model", FoundationModelConfig, VerticalModelConfig)

MENDS_TOLD = 3
SMALLEST_PART = 64
"""of a GPU that is proposed is one of so many equal ones"""
DIGITS = 4
"""of a part of a GPU that Ray tells apart"""


@dataclass(frozen=True)
class Mend:
    """A field and the value that it may have at most."""

    path: str
    value: Any

    def __str__(self) -> str:
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return f"{self.path}: {value:g}" if isinstance(value, float) else f"{self.path}: {value}"


def first_fit(values: Sequence[Value], fits: Callable[[Value], bool]) -> Value | None:
    """The first value that fits, or None where the last does not either; once one fits, all later ones do."""
    if not values or not fits(values[-1]):
        return None
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(values[middle]) else (middle + 1, high)
    return values[low]


def resource_mends(resources: ResourcesConfig, workers: int, fits: Callable[[ResourcesConfig], bool]) -> Iterable[Mend]:
    """For each field that needs less where it is lower, the highest value below its own with which all fits, if any.

    Args:
        workers: of the fleet, as many as there are where the recipe leaves that open.
        fits: whether a cluster has enough for these resources.
    """
    lower: dict[str, Sequence[int | float]] = {
        "fm_replicas": range(resources.fm_replicas - 1, 0, -1),
        "fm_replicas_most": range((resources.fm_replicas_most or 0) - 1, resources.fm_replicas - 1, -1),
        "fleet_workers": range(workers - 1, (resources.fleet_workers_least or 1) - 1, -1),
        "augment_tasks": range(resources.augment_tasks - 1, 0, -1),
        "gpus_per_fm": fewer_gpus(resources.gpus_per_fm),
        "gpus_per_vm": fewer_gpus(resources.gpus_per_vm),
    }
    for field, values in lower.items():
        value = first_fit(values, lambda value, field=field: fits(resources.model_copy(update={field: value})))  # type: ignore[misc]
        if value is not None:
            yield Mend(f"resources.{field}", value)


def recipe_mends(recipe: Recipe, workers: int, fits: Callable[[Recipe], bool]) -> Iterator[Mend]:
    """As `resource_mends`, and before them fewer workers for the models that have several.

    Args:
        fits: whether a cluster has enough for a recipe.
    """
    for name, own, changed in _several_workers(recipe):
        fewer = first_fit(range(own - 1, 0, -1), lambda count, changed=changed: fits(changed(count)))  # type: ignore[misc]
        if fewer is not None:
            yield Mend(f"{name}.workers", fewer)
    yield from resource_mends(
        recipe.resources, workers, lambda resources: fits(recipe.model_copy(update={"resources": resources}))
    )


def _several_workers(recipe: Recipe) -> Iterator[tuple[str, int, Callable[[int], Recipe]]]:
    """Each model that has several: the path of its section, how many, and the recipe with another number."""
    if recipe.fm.workers > 1:
        yield "fm", recipe.fm.workers, lambda count: recipe.model_copy(update={"fm": with_workers(recipe.fm, count)})
    for vm in recipe.team_vms():

        def changed(count: int, vm: VerticalModelConfig = vm) -> Recipe:
            vms = tuple(with_workers(one, count) if one is vm else one for one in recipe.vms)
            return recipe.model_copy(update={"vms": vms})

        yield f"vms.{vm.name}", vm.workers, changed


def with_workers(section: Model, workers: int) -> Model:
    """The section of a model with another number of workers."""
    return section.model_copy(update={"workers": workers})


def fewer_gpus(gpus: float) -> list[float]:
    """Numbers of GPUs below one, the highest first: whole ones, equal parts of one, none."""
    parts = [int(10**DIGITS / share) / 10**DIGITS for share in range(2, SMALLEST_PART + 1)]
    whole = [float(count) for count in range(int(gpus), 0, -1)]
    return [value for value in [*whole, *parts, 0.0] if value < gpus]


def mend_words(mends: Iterable[Mend], otherwise: str) -> str:
    """What would do, for the end of a message: the first few.

    Args:
        otherwise: what helps besides, or where no single field does.
    """
    told = [str(mend) for mend in islice(mends, MENDS_TOLD)]
    if not told:
        return f"no single field mends that; {otherwise}"
    return f"{' or '.join(told)} would fit; or {otherwise}"
