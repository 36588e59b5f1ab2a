"""Steps beside each other: all run, and the first failure is told at once."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import exfm_ray.together
from exfm_ray.data.location import Location
from exfm_ray.data.waiting import wait_until_committed
from exfm_ray.together import together
from exfm_ray.waits import StoppedError, within


def test_all_steps_run_at_the_same_time() -> None:
    meeting, seen = threading.Barrier(3, timeout=10), []

    def step() -> None:
        meeting.wait()
        seen.append(threading.get_ident())

    together(step, step, step)
    assert len(set(seen)) == 3


def test_the_first_failure_is_raised_while_others_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(exfm_ray.together, "LEAVE_SECONDS", 0.1)

    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        together(lambda: None, lambda: never.wait() and None, fail)


def test_a_failure_ends_the_waits_of_the_others_which_put_away_what_they_hold(tmp_path: Path) -> None:
    entered, put_away = threading.Barrier(3, timeout=10), []

    def fail() -> None:
        entered.wait()
        raise ValueError("broken")

    def hold(wait: Callable[[], object]) -> None:
        try:
            entered.wait()
            wait()
        except StoppedError:
            put_away.append(True)

    never = threading.Event()
    with pytest.raises(ValueError, match="broken"):
        together(
            fail,
            lambda: hold(lambda: wait_until_committed(Location.of(str(tmp_path)), 60.0, "what never comes")),
            lambda: hold(lambda: within(None, "what never ends", "", never.wait)),
        )
    assert put_away == [True, True]


def test_nothing_to_do_ends_at_once() -> None:
    together()


def test_a_slow_step_is_waited_for() -> None:
    done = []

    def slow() -> None:
        time.sleep(0.2)
        done.append(True)

    together(slow, lambda: None)
    assert done == [True]


class Finalized:
    """Is interrupted while it is finalized, where Python ignores every exception."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


def test_an_interrupt_is_not_lost_in_a_finalizer() -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: Finalized() and None)
    handler = signal.getsignal(signal.SIGINT)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            together(lambda: time.sleep(2))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert signal.getsignal(signal.SIGINT) is handler
