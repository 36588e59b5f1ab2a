"""The lines of results.jsonl, checked, and found again by VM, method, seed and day."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import DataError, UserError
from exfm_ray.schema import METHODS, Method

Metric = Literal[
    "ne",
    "ne_eval",
    "logloss",
    "auc",
    "calibration",
    "calibration_fm",
    "ne_fm",
    "ne_oracle",
    "excess",
    "excess_shifted",
]
Series = Mapping[tuple[int, int], float]
"""A metric by (seed, evaluated day); where it is undefined, the pair is absent."""


class Result(BaseModel):
    """One VM, method and seed on one evaluated day. A metric that is not defined there is None, never NaN."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    vm: str
    domain: int
    stage: str
    task: str
    model: str
    fm: str
    method: Method
    seed: int
    train_day: int
    eval_day: int
    rows: int
    positives: int
    ne: float | None
    ne_eval: float | None
    logloss: float | None
    auc: float | None
    calibration: float | None
    fm_snapshot: str | None
    staleness_days: int | None
    calibration_fm: float | None = None
    ne_fm: float | None = None
    ne_oracle: float | None = None
    excess: float | None = None
    excess_shifted: float | None = None

    @field_validator(*get_args(Metric))
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    def metric(self, name: Metric) -> float | None:
        value = getattr(self, name)
        assert value is None or isinstance(value, float)
        return value


@dataclass(frozen=True)
class Results:
    """All results of a run; VMs in the order given, methods in the paper's order, then seeds and days."""

    lines: tuple[Result, ...]

    @cached_property
    def _variants(self) -> dict[tuple[str, Method], list[Result]]:
        variants: dict[tuple[str, Method], list[Result]] = {}
        for line in self.lines:
            variants.setdefault((line.vm, line.method), []).append(line)
        return variants

    @cached_property
    def vms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(line.vm for line in self.lines))

    @cached_property
    def days(self) -> tuple[int, ...]:
        """Evaluated days, in order."""
        return tuple(sorted({line.eval_day for line in self.lines}))

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({line.seed for line in self.lines}))

    def methods(self, vm: str) -> tuple[Method, ...]:
        """Methods that the VM ran, in the paper's order from worst to best."""
        return tuple(method for method in METHODS if (vm, method) in self._variants)

    def of(self, vm: str, method: Method) -> Sequence[Result]:
        """Lines of one VM and method, by seed and day; empty where it never ran."""
        return self._variants.get((vm, method), [])

    def series(self, vm: str, method: Method, metric: Metric) -> Series:
        """The metric wherever it is defined."""
        values = {(line.seed, line.eval_day): line.metric(metric) for line in self.of(vm, method)}
        return {pair: value for pair, value in values.items() if value is not None}

    def any_defined(self, metric: Metric) -> bool:
        return any(line.metric(metric) is not None for line in self.lines)


def ordered(lines: Sequence[Result], vms: Sequence[str]) -> Results:
    """Results in the order of `vms`; VMs that it does not name come last, by name.

    Raises:
        DataError: two lines speak of the same VM, method, seed and day.
    """
    counts = Counter((line.vm, line.method, line.seed, line.eval_day) for line in lines)
    for (vm, method, seed, day), count in counts.items():
        if count > 1:
            raise DataError(f"results.jsonl has {count} lines for vm {vm!r}, method {method}, seed {seed}, day {day}")
    places = {name: place for place, name in enumerate(vms)}

    def place(line: Result) -> tuple[int, str, int, int, int]:
        return places.get(line.vm, len(places)), line.vm, METHODS.index(line.method), line.seed, line.eval_day

    return Results(tuple(sorted(lines, key=place)))


def read_results(run: RunDirectory) -> Results:
    """The run's results, VMs in the recipe's order.

    Raises:
        UserError: there are none yet.
        DataError: a line cannot be read as a result.
    """
    if not run.recipe_file.is_file():
        raise UserError(f"out: {run.root} has no recipe.yaml, so it is no run directory; give the --out of an exfm run")
    if run.results_file.size() <= 0:
        state = "an empty results.jsonl" if run.results_file.is_file() else "no results.jsonl"
        raise UserError(
            f"out: {run.root} has {state}, but a report needs at least one result; let the run finish "
            "(the same `exfm run` command continues it), then report again"
        )
    try:
        lines = [Result.model_validate(line) for line in run.results()]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{run.results_file} has a line whose {field!r} is wrong: {first['msg']}") from error
    except ValueError as error:
        raise DataError(f"{run.results_file} has a line that is not JSON: {error}") from error
    return ordered(lines, [vm.name for vm in run.recipe().vms])
