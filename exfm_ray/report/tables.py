"""The rows of the report's tables: per VM and method over all days and seeds, and per day over the seeds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exfm_ray.report.results import Metric, Result, Results, Series
from exfm_ray.report.statistics import (
    Change,
    Summary,
    gap_closed,
    mean_difference,
    paired_change,
    percent_changes,
    shared_pairs,
    summarise,
    transfer_ratio,
)
from exfm_ray.schema import Method

SUMMARISED: tuple[Metric, ...] = (
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
)


@dataclass(frozen=True)
class VariantRow:
    """One VM and method over all its evaluated days and seeds. Undefined numbers are None."""

    vm: str
    method: Method
    n: int
    """Results, pairs of seed and day."""
    metrics: Mapping[Metric, Summary]
    change: Change | None
    """Of NE in percent against `none`."""
    fm_gain: float | None
    """Mean of (NE of `none` - NE of the FM)."""
    vm_gain: float | None
    """Mean of (NE of `none` - NE), over the pairs at which the FM's NE is defined too."""
    transfer_ratio: float | None
    oracle_distance: Summary
    """Of NE - NE of the true probability."""
    gap_closed: float | None


def variant_rows(results: Results) -> list[VariantRow]:
    """Rows by VM, then method in the paper's order."""
    return [_variant_row(results, vm, method) for vm in results.vms for method in results.methods(vm)]


def _variant_row(results: Results, vm: str, method: Method) -> VariantRow:
    none, own = results.series(vm, "none", "ne"), results.series(vm, method, "ne")
    fm, oracle = results.series(vm, method, "ne_fm"), results.series(vm, method, "ne_oracle")
    pairs = shared_pairs(none, own, fm)
    taught = method != "none"
    return VariantRow(
        vm=vm,
        method=method,
        n=len(results.of(vm, method)),
        metrics={name: summarise(results.series(vm, method, name).values()) for name in SUMMARISED},
        change=paired_change(none, own) if taught else None,
        fm_gain=mean_difference(none, fm, pairs),
        vm_gain=mean_difference(none, own, pairs) if taught else None,
        transfer_ratio=transfer_ratio(none, own, fm) if taught else None,
        oracle_distance=summarise(own[pair] - oracle[pair] for pair in shared_pairs(own, oracle)),
        gap_closed=gap_closed(none, own, oracle) if taught else None,
    )


@dataclass(frozen=True)
class DayRow:
    """One VM and method on one evaluated day, means over the seeds."""

    method: Method
    train_day: int
    eval_day: int
    seeds: int
    rows: int
    positives: int
    metrics: Mapping[Metric, float | None]
    change: float | None
    """Of NE in percent against `none` of the same seeds."""
    snapshots: tuple[str, ...]
    staleness_days: tuple[int, ...]


def day_rows(results: Results, vm: str) -> list[DayRow]:
    """Rows by method in the paper's order, then day."""
    none, rows = results.series(vm, "none", "ne"), []
    for method in results.methods(vm):
        changes = percent_changes(none, results.series(vm, method, "ne")) if method != "none" else {}
        by_day: dict[int, list[Result]] = {}
        for line in results.of(vm, method):
            by_day.setdefault(line.eval_day, []).append(line)
        rows += [_day_row(by_day[day], changes) for day in sorted(by_day)]
    return rows


def _day_row(lines: list[Result], changes: Series) -> DayRow:
    first = lines[0]
    return DayRow(
        method=first.method,
        train_day=first.train_day,
        eval_day=first.eval_day,
        seeds=len(lines),
        rows=first.rows,
        positives=first.positives,
        metrics={name: _mean(line.metric(name) for line in lines) for name in SUMMARISED},
        change=summarise(change for (_, day), change in changes.items() if day == first.eval_day).mean,
        snapshots=tuple(sorted({line.fm_snapshot for line in lines if line.fm_snapshot is not None})),
        staleness_days=tuple(sorted({line.staleness_days for line in lines if line.staleness_days is not None})),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    return summarise(value for value in values if value is not None).mean
