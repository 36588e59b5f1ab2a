"""Trials in a real storage: each is one driver's, goes on where it stopped, and is counted once."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from exfm_ray.tune import trial_book
from exfm_ray.tune.chosen import choose
from exfm_ray.tune.scores import Instance
from exfm_ray.tune.trial_book import OpenTrial, TrialBook, open_study
from tests.tune.studies import study_config


def book(place: Path, driver: str = "a", trials: int = 4, **changes: object) -> TrialBook:
    config = study_config(**changes)
    return TrialBook(open_study(config, f"sqlite:///{place}/study.db"), config, driver, trials)


def lived(book: TrialBook, opened: OpenTrial, ne: float = 0.9, calibration: float = 1.0) -> None:
    book.report(opened, [Instance(3, seed, (ne + seed / 10,), (calibration,)) for seed in (0, 1)])
    book.end(opened, is_pruned=False, seconds=1.0)


def test_a_trial_has_the_mean_over_days_and_seeds_and_its_standard_error(tmp_path: Path) -> None:
    one = book(tmp_path, objective={"calibration_within": 0.2})
    opened = one.begin()
    assert opened is not None
    lived(one, opened, ne=0.9, calibration=1.3)
    (trial,) = one.ended()
    assert trial.values == pytest.approx([0.95])
    assert trial.user_attrs["standard_error"] == pytest.approx([0.05])
    assert trial.constraints == pytest.approx({"first": 0.1})
    assert trial.intermediate_values == pytest.approx({0: 0.9, 1: 1.0})


def test_a_driver_goes_on_with_what_it_left_open_and_with_nothing_else(tmp_path: Path) -> None:
    first = book(tmp_path)
    opened, other = first.begin(), book(tmp_path, "b").begin()
    assert opened is not None
    assert other is not None
    assert {opened.number, other.number} == {0, 1}
    again = book(tmp_path).begin()
    assert again is not None
    assert (again.number, again.settings) == (opened.number, opened.settings)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_what_is_beyond_the_calibration_is_not_chosen_also_where_it_was_left_open(tmp_path: Path, sampler: str) -> None:
    changes = {"objective": {"calibration_within": 0.2}, "sampler": {"type": sampler}}
    assert book(tmp_path, **changes).begin() is not None
    again = book(tmp_path, **changes)
    for ne, calibration in ((0.5, 1.5), (0.9, 1.1)):
        opened = again.begin()
        assert opened is not None
        lived(again, opened, ne, calibration)
    assert choose(again.study, again.config).trial == 1
    if sampler == "tpe":  # which is told, so that it proposes others
        assert [trial.number for trial in again.study.best_trials] == [1]


def test_drivers_that_share_a_study_do_not_begin_more_than_it_shall_have(tmp_path: Path) -> None:
    books = [book(tmp_path, driver, trials=5) for driver in ("a", "b")]
    begun = [trial for turn in range(4) for one in books if (trial := one.begin()) is not None]
    assert sorted(trial.number for trial in begun) == [0, 1, 2, 3, 4]


def test_ending_a_trial_twice_counts_it_once(tmp_path: Path) -> None:
    first, second = book(tmp_path), book(tmp_path)
    opened = first.begin()
    assert opened is not None
    again = book(tmp_path).begin()
    assert again is not None
    lived(first, opened)
    lived(second, again)
    assert len(first.ended()) == 1


def test_a_trial_without_a_defined_ne_fails(tmp_path: Path) -> None:
    one = book(tmp_path)
    opened = one.begin()
    assert opened is not None
    one.report(opened, [Instance(3, 0, (None,), (1.0,))])
    one.end(opened, is_pruned=False, seconds=1.0)
    assert [trial.state for trial in one.study.trials] == [TrialState.FAIL]
    assert one.ended() == []


def test_what_a_driver_asked_for_and_never_claimed_is_let_go_and_its_point_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = {"label_scale": 1.0, "grad_scale": 1.0, "loss_weight": 1.0}
    one = book(tmp_path, points=[point])
    one.study.ask()  # and dies
    monkeypatch.setattr(trial_book, "ORPHANED_SECONDS", -1.0)
    opened = book(tmp_path, points=[point]).begin()
    assert opened is not None
    assert opened.trial.params == point
    assert opened.number == 1


def test_the_given_points_are_tried_first_and_once(tmp_path: Path) -> None:
    points = [{"label_scale": 1.0, "grad_scale": 1.0, "loss_weight": 1.0}, {"label_scale": 4.0, "loss_weight": 2.0}]
    for _ in range(3):  # as if started again
        one = book(tmp_path, points=points)
    begun = [one.begin() for _ in range(3)]
    params = [opened.trial.params for opened in begun if opened is not None]
    assert params[0] == points[0]
    assert {name: params[1][name] for name in points[1]} == points[1]
    assert params[2] not in points
