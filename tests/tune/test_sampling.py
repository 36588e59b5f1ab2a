"""Samplers draw on where they stopped; the median rule compares means over the same days and seeds."""

from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from exfm_ray.tune.point import settings_of
from exfm_ray.tune.sampling import AfterStartup, MedianOverInstances, pruner_of, sampler_of
from tests.tune.studies import study_config

optuna.logging.set_verbosity(optuna.logging.ERROR)


def finished(*values: float) -> FrozenTrial:
    """A complete trial with these values at steps 0, 1 …"""
    return create_trial(state=TrialState.COMPLETE, value=values[-1], intermediate_values=dict(enumerate(values)))


def running(*values: float) -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(values)))


@pytest.mark.parametrize(
    ("values", "is_pruned"),
    [
        ((1.0,), False),  # one instance says nothing
        ((1.0, 1.0), False),  # 1.0, the median is 2.0
        ((2.0, 2.0), False),
        ((3.0, 1.1), True),  # 2.05: its best value so far would have kept it
        ((1.0, 3.2, 1.0), False),  # over three instances the median is 2.0
    ],
)
def test_the_median_of_means_over_the_same_instances(values: tuple[float, ...], is_pruned: bool) -> None:
    study = optuna.create_study()
    study.add_trials([finished(1.0, 1.0, 1.0), finished(3.0, 1.0, 2.0), finished(2.0, 9.0, 9.0)])
    assert MedianOverInstances().prune(study, running(*values)) is is_pruned


def test_nothing_ends_early_before_some_trials_are_complete() -> None:
    study = optuna.create_study()
    rule = AfterStartup(MedianOverInstances(), 2)
    study.add_trial(finished(1.0, 1.0))
    assert not rule.prune(study, running(9.0, 9.0))
    study.add_trial(finished(1.0, 1.0))
    assert rule.prune(study, running(9.0, 9.0))


def test_wilcoxon_ends_what_is_worse_than_the_best_on_nearly_all_instances() -> None:
    rule = pruner_of(study_config(pruner={"type": "wilcoxon", "startup_trials": 1, "p_threshold": 0.05}))
    study = optuna.create_study()
    best = [1.0 + 0.01 * step for step in range(8)]
    study.add_trial(create_trial(value=1.0, intermediate_values=dict(enumerate(best))))
    worse = [value + 0.001 * (step + 1) for step, value in enumerate(best)]
    assert rule.prune(study, running(*worse))
    mixed = [value + (-0.01 if step % 2 else 0.01) for step, value in enumerate(best)]
    assert not rule.prune(study, running(*mixed))


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "nsga2"])
def test_a_driver_that_starts_again_does_not_draw_what_it_has_drawn(sampler: str) -> None:
    config = study_config(sampler={"type": sampler, "seed": 3})
    study, drawn = optuna.create_study(), []
    for number in range(6):
        study.sampler = sampler_of(config, number)  # as if started again each time
        trial = study.ask()
        settings_of(trial, config)
        drawn.append(trial.params["label_scale"])
        study.tell(trial, 1.0)
    assert len(set(drawn)) == len(drawn)
    assert drawn == drawn_in_one_go(config, 6)


def drawn_in_one_go(config: Any, count: int) -> list[float]:
    study, drawn = optuna.create_study(), []
    for number in range(count):
        study.sampler = sampler_of(config, number)
        trial = study.ask()
        settings_of(trial, config)
        drawn.append(trial.params["label_scale"])
        study.tell(trial, 1.0)
    return drawn


def test_a_grid_visits_every_point_once() -> None:
    space = {"label_scale": [1, 2], "loss_weight": [0.5, 1, 2]}
    config = study_config(space=space, sampler={"type": "grid"})
    study, seen = optuna.create_study(), []
    for number in range(6):
        study.sampler = sampler_of(config, number)
        trial = study.ask()
        settings_of(trial, config)
        seen.append((trial.params["label_scale"], trial.params["loss_weight"]))
        study.tell(trial, 1.0)
    assert sorted(seen) == [(a, b) for a in (1, 2) for b in (0.5, 1, 2)]
