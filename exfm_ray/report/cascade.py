"""What an FM gives a cascade of VMs: NE and recall by stage, and the value of what is shown, against no FM."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from exfm_ray.cascade.plan import STAGES, domain_cascades
from exfm_ray.config import Recipe
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import DataError
from exfm_ray.report.results import Results, Series
from exfm_ray.report.statistics import Summary, percent_changes, shared_pairs, summarise
from exfm_ray.schema import METHODS, Method


class CascadeLine(BaseModel):
    """One line of cascade.jsonl."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    domain: int
    method: Method
    seed: int
    eval_day: int
    vms: dict[str, str]
    requests: int
    recall: dict[str, float]
    recall_of_entered: dict[str, float]
    value: float
    value_random: float
    fm_requests: int
    value_fm: float | None
    recall_fm: float | None


@dataclass(frozen=True)
class Gain:
    """Paired differences against `none`; positive is better."""

    n: int
    mean: float
    sd: float | None
    better: int


@dataclass(frozen=True)
class StageRow:
    """One stage by one method, over all seeds and evaluated days. Gains are None for `none` itself."""

    stage: str
    vm: str
    method: Method
    ne_gain: Gain | None
    """in percent of the NE of `none`"""
    recall: Summary
    recall_gain: Gain | None
    """in percentage points"""
    recall_of_entered: Summary
    recall_of_entered_gain: Gain | None
    """in percentage points"""


@dataclass(frozen=True)
class ValueRow:
    """What is shown in the end by one method."""

    method: Method
    value: Summary
    gain: Gain | None
    """in percent of the value of `none`"""


@dataclass(frozen=True)
class CascadeReport:
    """One domain."""

    domain: int
    methods: tuple[Method, ...]
    stages: tuple[StageRow, ...]
    values: tuple[ValueRow, ...]
    value_random: Summary
    value_fm: Summary
    recall_fm: Summary
    fm_requests: int
    lacking: dict[Method, tuple[str, ...]]
    """methods that only some of the VMs are trained by, and the VMs that lack them"""

    def of_stage(self, stage: str, method: Method) -> StageRow:
        return next(row for row in self.stages if (row.stage, row.method) == (stage, method))


def read_cascade_lines(run: RunDirectory) -> tuple[CascadeLine, ...]:
    """The lines of cascade.jsonl; none where the run has no cascade.

    Raises:
        DataError: a line cannot be read as one.
    """
    if not run.cascade_file.is_file():
        return ()
    try:
        return tuple(CascadeLine.model_validate_json(line) for line in run.cascade_file.read().splitlines())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{run.cascade_file} has a line whose {field!r} is wrong: {first['msg']}") from error


def cascade_reports(recipe: Recipe, results: Results, lines: Iterable[CascadeLine]) -> list[CascadeReport]:
    """By domain, methods in the paper's order."""
    by_domain: dict[int, list[CascadeLine]] = {}
    for line in lines:
        by_domain.setdefault(line.domain, []).append(line)
    lacking = {cascade.domain: cascade.lacking(recipe) for cascade in domain_cascades(recipe)}
    return [_report(results, of_domain, lacking[domain]) for domain, of_domain in by_domain.items()]


def _report(results: Results, lines: list[CascadeLine], lacking: dict[Method, tuple[str, ...]]) -> CascadeReport:
    """Of the lines of one domain."""
    methods = tuple(method for method in METHODS if any(line.method == method for line in lines))
    first = lines[0]

    def series(method: Method, value: Callable[[CascadeLine], float]) -> Series:
        return {(line.seed, line.eval_day): value(line) for line in lines if line.method == method}

    def stage_row(stage: str, method: Method) -> StageRow:
        def still_there(line: CascadeLine) -> float:
            return line.recall[stage]

        def of_entered(line: CascadeLine) -> float:
            return line.recall_of_entered[stage]

        vm = first.vms[stage]
        return StageRow(
            stage=stage,
            vm=vm,
            method=method,
            ne_gain=_ne_gain(results.series(vm, "none", "ne"), results.series(vm, method, "ne"), method),
            recall=summarise(series(method, still_there).values()),
            recall_gain=_points(series("none", still_there), series(method, still_there), method),
            recall_of_entered=summarise(series(method, of_entered).values()),
            recall_of_entered_gain=_points(series("none", of_entered), series(method, of_entered), method),
        )

    def value_row(method: Method) -> ValueRow:
        none, own = series("none", lambda line: line.value), series(method, lambda line: line.value)
        changes = percent_changes(none, own).values() if method != "none" else ()
        return ValueRow(method, summarise(own.values()), gain(changes))

    days = {line.eval_day: line for line in lines}.values()  # the same of every method and seed
    return CascadeReport(
        domain=first.domain,
        methods=methods,
        stages=tuple(stage_row(stage, method) for stage in STAGES for method in methods),
        values=tuple(value_row(method) for method in methods),
        value_random=summarise(line.value_random for line in days),
        value_fm=summarise(line.value_fm for line in days if line.value_fm is not None),
        recall_fm=summarise(line.recall_fm for line in days if line.recall_fm is not None),
        fm_requests=first.fm_requests,
        lacking=lacking,
    )


def _ne_gain(none: Series, own: Series, method: Method) -> Gain | None:
    return gain(-change for change in percent_changes(none, own).values()) if method != "none" else None


def _points(none: Series, own: Series, method: Method) -> Gain | None:
    if method == "none":
        return None
    return gain(100 * (own[pair] - none[pair]) for pair in shared_pairs(none, own))


def gain(differences: Iterable[float]) -> Gain | None:
    """None where there is no difference to tell."""
    known = list(differences)
    summary = summarise(known)
    if summary.mean is None:
        return None
    return Gain(summary.n, summary.mean, summary.sd, sum(difference > 0 for difference in known))


def taught_by(report: CascadeReport) -> dict[str, Gain] | None:
    """NE gain by stage of the strongest method by the paper's order; None where it is not known of every stage."""
    taught = [method for method in report.methods if method != "none"]
    gains = {stage: report.of_stage(stage, taught[-1]).ne_gain for stage in STAGES} if taught else {}
    known = {stage: of for stage, of in gains.items() if of is not None}
    return known if len(known) == len(STAGES) else None
