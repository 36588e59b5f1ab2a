"""What the report of a study shows: the chosen point on days that did not choose it, and the search that found it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from exfm_ray.config import Chosen, StudyConfig
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import UserError
from exfm_ray.report.data_warning import data_warning
from exfm_ray.report.results import Result, Results, Series, ordered
from exfm_ray.report.statistics import Change, paired_change
from exfm_ray.report.study_figures import study_drawings
from exfm_ray.report.study_trials import TrialLine, read_trials
from exfm_ray.report.wording import counted, listed
from exfm_ray.report.wording import days as day_words
from exfm_ray.schema import Method

BEST_TRIALS = 15


@dataclass(frozen=True)
class Gain:
    """How the chosen point of one VM changes NE against a control, in percent, paired by seed and day."""

    vm: str
    method: Method
    """of the chosen point"""
    against: str
    searched: Change | None
    """on the days that chose it"""
    unseen: Change | None
    """on the days that did not"""


def study_content(run: RunDirectory) -> dict[str, Any]:
    """All that the template names.

    Raises:
        UserError: the study has chosen nothing yet.
    """
    resolved = run.resolved()
    study = StudyConfig.model_validate(resolved["recipe"])
    if not run.chosen_file.is_file():
        raise UserError(f"out: {run.root} has no chosen.json; let the same `exfm tune` command finish, then report")
    chosen = Chosen.model_validate_json(run.chosen_file.read())
    results = ordered([Result.model_validate(line) for line in run.results()], list(study.searched_vms))
    trials = read_trials(run)
    gains = [gain for vm in study.searched_vms for gain in gains_of(study, chosen, results, vm)]
    unseen = [day for day in results.days if day > study.choose_through_day]
    drawings = study_drawings(study, trials)
    return {
        "name": study.name,
        "sentence": _sentence(study, results, unseen),
        "warning": data_warning(study.recipe.data),
        "chosen": [(vm, setting.method, point_words(study, setting.distill.model_dump())) for vm, setting in
                   chosen.vms.items()],
        "trial": chosen.trial,
        "gains": gains,
        "findings": [_finding(vm, gains) for vm in study.searched_vms],
        "saved": _saved(study, trials),
        "best": best_trials(trials)[:BEST_TRIALS],
        "vms": study.searched_vms,
        "searched": sorted({name for trial in trials for name in trial.params}),
        "within": study.objective.calibration_within,
        "drawings": drawings,
        "simulation": "../simulation/report/index.html",
        "recipe": yaml.safe_dump(resolved["recipe"], sort_keys=False, allow_unicode=True),
        "versions": sorted(resolved["versions"].items()),
    }  # fmt: skip


def gains_of(study: StudyConfig, chosen: Chosen, results: Results, vm: str) -> list[Gain]:
    """Of one VM, against no teacher, plain distillation, and its own method at scales of 1."""
    method = chosen.vms[vm].method
    own = results.series(chosen.name_of(vm), method, "ne")
    controls: dict[str, Method] = {"none": "none", "kd": "kd", f"{method} (1, 1, 1)": method}
    found = []
    for name, control in controls.items():
        baseline = results.series(vm, control, "ne")
        seen, unseen = (
            paired_change(_on(study, baseline, is_unseen), _on(study, own, is_unseen)) for is_unseen in (False, True)
        )
        found.append(Gain(vm, method, name, seen, unseen))
    return found


def _on(study: StudyConfig, series: Series, is_unseen: bool) -> Series:
    return {pair: value for pair, value in series.items() if (pair[1] > study.choose_through_day) is is_unseen}


def best_trials(trials: Sequence[TrialLine]) -> list[TrialLine]:
    """Complete trials, the best first; those beyond the allowed calibration come last."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.values]
    return sorted(complete, key=lambda trial: (not trial.is_feasible, sum(trial.values or ()), trial.number))


def point_words(study: StudyConfig, distill: Mapping[str, Any]) -> str:
    """The searched settings of a point, in words."""
    values = {
        **{name: distill[name] for name in ("label_scale", "grad_scale", "loss_weight", "head_learning_rate")},
        "head_width": distill["head_hidden"],
        "adapter_width": distill["adapter"]["hidden"],
        "adapter_learning_rate": distill["adapter"]["learning_rate"],
    }
    return ", ".join(f"{name} {_shown(values[name])}" for name in study.space.searched())


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "–".join(str(width) for width in value)


def _sentence(study: StudyConfig, results: Results, unseen: Sequence[int]) -> str:
    chose = [day for day in results.days if day <= study.choose_through_day]
    return (
        f"A search over {listed(study.space.searched())} of {counted(len(study.searched_vms), 'VM')}, by "
        f"{study.sampler.type}. Evaluated {day_words(chose)} and {counted(len(study.choose_seeds), 'seed')} chose; "
        f"{day_words(unseen)} and {counted(len(study.recipe.seeds), 'seed')} report what was chosen."
    )


def _finding(vm: str, gains: Sequence[Gain]) -> str:
    default = next(gain for gain in gains if gain.vm == vm and "(1, 1, 1)" in gain.against)
    change = default.unseen
    if change is None:
        return f"{vm}: no day that did not choose is evaluated for both the chosen point and the default."
    error = f" ± {change.standard_error:.2f}" if change.standard_error is not None else ""
    verdict = {"yes": "better than", "no": "worse than", "tie": "no different, within one standard error, from"}
    return (
        f"{vm}: on unseen days the chosen point is {verdict[change.verdict]} the default (1, 1, 1): NE "
        f"{change.mean:+.2f}{error} %, better in {change.better} of {counted(change.n, 'pair')} of seed and day."
    )


def _saved(study: StudyConfig, trials: Sequence[TrialLine]) -> str:
    ended = [trial for trial in trials if trial.state in ("complete", "pruned")]
    complete = [trial for trial in ended if trial.state == "complete"]
    days = max((len(trial.days) for trial in complete), default=0)
    lived, all_days = sum(len(trial.days) for trial in ended), days * len(ended)
    share = f"{1 - lived / all_days:.0%}" if all_days else "none"
    failed = sum(trial.state == "fail" for trial in trials)
    undefined = f" {counted(failed, 'trial')} failed, as where NE is undefined." if failed else ""
    return (
        f"{counted(len(ended), 'trial')} ended, {len(ended) - len(complete)} of them early by the rule "
        f"{study.pruner.type!r}, which saved {share} of the days that trials would have trained.{undefined}"
    )
