"""What a trial proposes: only what changes something, and the same when it is asked again."""

import optuna
from optuna.trial import Trial

from exfm_ray.tune.point import changed, settings_of, variants_of
from tests.tune.studies import SPACE, study_config

EVERYTHING = {
    "method": ["kd", "ah", "ah_sa"],
    **SPACE,
    "head_width": [8, 32],
    "head_learning_rate": [0.001, 0.01],
    "adapter_width": [4, 8],
    "adapter_learning_rate": {"low": 0.001, "high": 0.1},
}


def proposals(count: int, **changes: object) -> list[Trial]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    config = study_config(**changes)
    trials = [study.ask() for _ in range(count)]
    for trial in trials:
        settings_of(trial, config)
    return trials


def test_what_changes_nothing_for_a_method_is_not_asked_for() -> None:
    asked = {trial.params["method"]: set(trial.params) - {"method"} for trial in proposals(30, space=EVERYTHING)}
    assert asked == {
        "kd": {"label_scale", "loss_weight"},
        "ah": {"label_scale", "grad_scale", "loss_weight", "head_width", "head_learning_rate"},
        "ah_sa": set(EVERYTHING) - {"method"},
    }


def test_asking_again_gives_the_same() -> None:
    config = study_config(space=EVERYTHING)
    (trial,) = proposals(1, space=EVERYTHING)
    again = settings_of(Trial(trial.study, trial._trial_id), config)
    assert again == settings_of(trial, config)
    setting = again["first"]
    assert setting.method == trial.params["method"]
    assert setting.distill.label_scale == trial.params["label_scale"]


def test_vms_may_have_points_of_their_own() -> None:
    recipe = study_config().recipe.model_dump()
    recipe["vms"] = [recipe["vms"][0], recipe["vms"][0] | {"name": "other"}]
    (trial,) = proposals(1, recipe=recipe, per_vm=True)
    assert set(trial.params) == {f"{vm}.{name}" for vm in ("first", "other") for name in SPACE}
    (shared,) = proposals(1, recipe=recipe)
    settings = settings_of(shared, study_config(recipe=recipe))
    assert settings["first"] == settings["other"]


def test_settings_go_where_they_belong_and_leave_the_others() -> None:
    before = study_config().recipe.vms[0].distill
    values = {
        "grad_scale": 5.0,
        "head_width": 32.0,
        "head_learning_rate": 0.02,
        "adapter_width": 4.0,
        "adapter_learning_rate": 0.05,
    }
    after = changed(before, values)
    assert (after.grad_scale, after.head_hidden, after.adapter.hidden) == (5.0, (32,), (4,))
    assert (after.head_learning_rate, after.adapter.learning_rate) == (0.02, 0.05)
    assert (after.label_scale, after.loss_weight) == (before.label_scale, before.loss_weight)
    assert after.adapter.optimizer == before.adapter.optimizer


def test_a_trial_trains_every_vm_from_every_seed_that_chooses() -> None:
    config = study_config()
    (trial,) = proposals(1)
    variants = list(variants_of(config, 12, settings_of(trial, config)))
    assert [(variant.vm.name, variant.method, variant.seed) for variant in variants] == [
        ("first-trial00012", "ah", 0),
        ("first-trial00012", "ah", 1),
    ]
