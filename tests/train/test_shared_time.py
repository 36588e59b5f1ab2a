"""Each of several things has its own time and an equal part of the rest."""

import time

import pytest

from exfm_ray.data.commit import Made
from exfm_ray.train.shared_time import SharedTime


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that it is, in its only element."""
    now = [1_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "perf_counter", lambda: now[0] - 77)
    monkeypatch.setattr(time, "process_time", lambda: (now[0] - 990) / 2)  # the process works half of the time
    return now


def test_own_time_and_an_equal_part_of_the_rest(clock: list[float]) -> None:
    shared = SharedTime(2)
    clock[0] += 4  # reading
    for thing, seconds in ((0, 1), (1, 5), (0, 2)):
        with shared.spent_on(thing):
            clock[0] += seconds
    made: list[Made] = []
    for stopwatch, seconds in zip(shared.stopwatches(), (10, 20), strict=True):
        clock[0] += seconds  # committing
        made.append(stopwatch.made())
    assert [one.seconds for one in made] == [2 + 3 + 10, 2 + 5 + 20]
    assert [one.cpu_seconds for one in made] == [(2 + 3 + 10) / 2, (2 + 5 + 20) / 2]
    assert [one.started for one in made] == [1_000, 1_015]
    assert made[1].started + made[1].seconds == clock[0]


def test_what_serves_several_alike_is_divided_among_them(clock: list[float]) -> None:
    shared = SharedTime(3)
    with shared.spent_on(0, 2):
        clock[0] += 6
    with shared.spent_on(1):
        clock[0] += 1
    assert [stopwatch.made().seconds for stopwatch in shared.stopwatches()] == [3, 1, 3]


def test_what_is_alone_has_all_the_time(clock: list[float]) -> None:
    shared = SharedTime(1)
    clock[0] += 4
    (stopwatch,) = shared.stopwatches()
    clock[0] += 1
    assert (stopwatch.made().started, stopwatch.made().seconds) == (1_000, 5)
