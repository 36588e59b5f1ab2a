"""Drivers that share a study: one waits for another as long as that one gives signs of life."""

import threading
import time
from pathlib import Path

import pytest

from exfm_ray.tune import drivers
from exfm_ray.tune.drivers import giving_signs, wait_for_others
from exfm_ray.tune.scores import Instance
from tests.tune.test_trial_book import book


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "SIGN_SECONDS", 0.1)
    monkeypatch.setattr(drivers, "SILENT_SECONDS", 2.0)
    monkeypatch.setattr(drivers, "LOOK_SECONDS", 0.05)


def test_a_driver_at_work_is_waited_for(tmp_path: Path) -> None:
    other, said = book(tmp_path, "other"), list[str]()
    opened = other.begin()
    assert opened is not None
    with giving_signs(other.study, "other"):
        own = book(tmp_path, "own").study
        waiting = threading.Thread(target=wait_for_others, args=(own, "own", None, said.append))
        waiting.start()
        time.sleep(3.0)  # longer than a silent driver is waited for
        assert waiting.is_alive()
        other.report(opened, [Instance(3, 0, (0.9,), (1.0,))])
        other.end(opened, is_pruned=False, seconds=1.0)
        waiting.join(timeout=30)
    assert not waiting.is_alive()
    assert said == ["waiting for 1 trial of other"]


def test_a_driver_that_is_gone_is_named_and_its_trials_stay_its_own(tmp_path: Path) -> None:
    other, said = book(tmp_path, "other"), list[str]()
    opened = other.begin()
    assert opened is not None
    wait_for_others(book(tmp_path, "own").study, "own", None, said.append)
    assert said[-1] == "left open: 1 trial of other, which gives no sign; the same command goes on there"
    again = book(tmp_path, "other").begin()
    assert again is not None
    assert again.number == opened.number


def test_nobody_waits_for_their_own_trials_or_beyond_the_time(tmp_path: Path) -> None:
    own, said = book(tmp_path, "own"), list[str]()
    assert own.begin() is not None
    wait_for_others(own.study, "own", None, said.append)
    assert said == []
    with giving_signs(own.study, "own"):
        wait_for_others(own.study, "another", time.monotonic(), said.append)
    assert said == ["left open: 1 trial of own, which is still at work"]
