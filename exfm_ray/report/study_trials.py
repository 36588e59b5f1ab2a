"""A study's trials as its run directory holds them, and as Optuna's figures want them."""

import json
from collections.abc import Sequence
from typing import Any, Literal

import optuna
from optuna.study import Study
from optuna.trial import TrialState
from pydantic import BaseModel, ConfigDict

from exfm_ray.data.run_directory import RunDirectory


class TrialLine(BaseModel):
    """One line of trials.jsonl."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int
    state: Literal["complete", "pruned", "fail", "running", "waiting"]
    values: tuple[float, ...] | None
    params: dict[str, Any]
    distributions: dict[str, dict[str, Any]]
    intermediate: dict[int, float]
    days: tuple[int, ...] = ()
    seconds: float = 0.0
    methods: dict[str, str] = {}
    ne: tuple[float, ...] = ()
    standard_error: tuple[float, ...] = ()
    calibration: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()

    @property
    def is_feasible(self) -> bool:
        """Whether every VM is within the calibration that the study allows."""
        return all(value <= 0 for value in self.violations)


def read_trials(run: RunDirectory) -> list[TrialLine]:
    """By number."""
    return [TrialLine.model_validate_json(line) for line in run.trials_file.read().splitlines()]


def as_study(trials: Sequence[TrialLine], objectives: int) -> Study:
    """Complete trials as a study in memory, for Optuna's figures."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize"] * objectives)
    for trial in trials:
        if trial.state == "complete" and trial.values:
            found = {name: _distribution(plain) for name, plain in trial.distributions.items()}
            study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.COMPLETE, values=list(trial.values), params=trial.params, distributions=found
                )
            )
    return study


def _distribution(plain: dict[str, Any]) -> optuna.distributions.BaseDistribution:
    return optuna.distributions.json_to_distribution(json.dumps(plain))
