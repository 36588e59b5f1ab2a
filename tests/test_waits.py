"""Waits end in time, say what for, and can be told meanwhile."""

import threading

import pytest

from exfm_ray.errors import WaitError
from exfm_ray.waits import StoppedError, current_waits, ended_by, noted_wait, pause, within


def test_what_a_call_returns_or_raises_is_handed_on() -> None:
    assert within(30.0, "an answer", "", lambda: 7) == 7

    def fail() -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        within(30.0, "an answer", "", fail)


def test_a_call_that_takes_too_long_is_left() -> None:
    never = threading.Event()
    with pytest.raises(WaitError, match=r"^waited 0 s for a worker, and it is not there; add nodes$"):
        within(0.1, "a worker", "add nodes", never.wait)


def test_a_call_that_has_begun_in_time_may_take_longer() -> None:
    ready = threading.Event()
    threading.Timer(0.6, ready.set).start()
    assert within(0.1, "a worker", lambda: "add nodes", ready.wait, has_begun=lambda: True)


def test_waits_inside_a_call_end_with_those_of_its_thread() -> None:
    stop, inside = threading.Event(), []

    def wait() -> None:
        try:
            stop.set()
            pause(60.0)
        except StoppedError:
            inside.append(True)
            raise

    with ended_by(stop), pytest.raises(StoppedError):
        within(None, "nothing", "", wait)
    with pytest.raises(StoppedError), ended_by(stop):
        pause(60.0)
    pause(0.0)
    assert inside == [True]


def test_current_waits_are_those_that_are_not_over() -> None:
    over = [False]
    with noted_wait("a worker for the FM", lambda: over[0]), noted_wait("the partition of day 1"):
        assert [wait.what for wait in current_waits()] == ["a worker for the FM", "the partition of day 1"]
        assert all(wait.seconds >= 0 for wait in current_waits())
        over[0] = True
        assert [wait.what for wait in current_waits()] == ["the partition of day 1"]
    assert current_waits() == []
