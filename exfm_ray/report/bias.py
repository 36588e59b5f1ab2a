"""How much of the FM's calibration error a VM takes over (ExFM 3.3, the remark on Theorem 3.1)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from exfm_ray.report.results import Results, Series
from exfm_ray.report.statistics import Summary, shared_pairs, summarise
from exfm_ray.schema import Method

SMALLEST_ERROR = 0.05
"""Below this difference between the FM's calibration and the untaught VM's there is no bias to hand on."""


@dataclass(frozen=True)
class BiasRow:
    """One VM and method: calibrations are means over the evaluated days, then mean and sd over the seeds."""

    vm: str
    method: Method
    seeds: int
    fm: Summary
    """Of the FM on the VM's rows."""
    none: Summary
    own: Summary
    change: Summary
    """Calibration minus that of `none`, seed by seed."""
    towards_fm: Summary
    """That change ÷ (FM's minus `none`'s): 0 keeps the VM's own calibration, 1 takes the FM's. Empty where the FM is
    calibrated as the VM is."""


def bias_rows(results: Results) -> list[BiasRow]:
    """Every taught method of every VM that also ran `none`, over the pairs of seed and day that all terms share."""
    rows = [_bias_row(results, vm, method) for vm in results.vms for method in results.methods(vm) if method != "none"]
    return [row for row in rows if row is not None]


def _bias_row(results: Results, vm: str, method: Method) -> BiasRow | None:
    none, own = results.series(vm, "none", "calibration"), results.series(vm, method, "calibration")
    fm = results.series(vm, method, "calibration_fm")
    pairs = shared_pairs(none, own, fm)
    if not pairs:
        return None
    of_fm, of_none, of_own = (_means(series, pairs) for series in (fm, none, own))
    changes = {seed: of_own[seed] - of_none[seed] for seed in of_own}
    errors = {seed: of_fm[seed] - of_none[seed] for seed in of_own}
    shares = [changes[seed] / error for seed, error in errors.items() if abs(error) >= SMALLEST_ERROR]
    return BiasRow(
        vm=vm,
        method=method,
        seeds=len(of_own),
        fm=summarise(of_fm.values()),
        none=summarise(of_none.values()),
        own=summarise(of_own.values()),
        change=summarise(changes.values()),
        towards_fm=summarise(shares),
    )


def _means(series: Series, pairs: list[tuple[int, int]]) -> Mapping[int, float]:
    """The mean over the days, by seed."""
    by_seed: dict[int, list[float]] = {}
    for seed, day in pairs:
        by_seed.setdefault(seed, []).append(series[seed, day])
    return {seed: math.fsum(values) / len(values) for seed, values in by_seed.items()}
