"""Work goes to whoever is free, each group's days in order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from exfm_ray.train.work_queue import WorkQueue, dealt

DAYS = range(3, 6)


def test_the_dearest_is_dealt_first_to_whoever_has_least() -> None:
    assert dealt([4, 4, 4, 2, 9], 2) == [1, 1, 1, 0, 0]
    assert dealt([1, 1], 3) == [0, 1]
    assert dealt([], 2) == []


def test_a_worker_begins_with_its_own_and_the_dearest_of_them() -> None:
    queue = WorkQueue([5, 4, 2, 1], 2, DAYS)  # dealt 0, 1, 1, 0
    assert queue.take(1, 5) == (1, 3)
    assert queue.take(0, 5) == (0, 3)
    queue.done(1, 7.0)
    assert queue.take(1, 5) == (2, 3)


def test_a_worker_goes_a_day_ahead_rather_than_to_take_models_from_another() -> None:
    queue = WorkQueue([1, 1, 1], 2, DAYS)  # dealt 0, 1, 0
    assert queue.take(0, 5) == (0, 3)
    assert queue.take(1, 5) == (1, 3)
    queue.done(1, 1.0)
    assert queue.take(1, 5) == (1, 4)
    queue.done(1, 1.0)
    assert queue.take(1, 5) == (2, 3), "two days behind"


def test_a_worker_takes_another_ones_work_rather_than_to_wait() -> None:
    queue = WorkQueue([1, 1, 1], 2, DAYS)
    assert queue.take(0, 3) == (0, 3)
    assert queue.take(1, 3) == (1, 3)
    queue.done(1, 1.0)
    assert queue.take(1, 3) == (2, 3)
    queue.done(2, 1.0)
    assert queue.take(1, 3) == "wait for others"
    queue.done(0, 1.0)
    assert queue.take(0, 3) == queue.take(1, 3) == "wait for a day"
    assert queue.take(0, 4) == (0, 4)
    assert queue.take(1, 4) in ((1, 4), (2, 4)), "it had both last"


def test_nothing_to_do_is_done_at_once() -> None:
    assert WorkQueue([], 2, DAYS).take(1, 2) == "end"
    assert WorkQueue([1.0], 2, range(3, 3)).take(1, 2) == "end"


@given(st.lists(st.floats(0.1, 9), max_size=6), st.integers(1, 4), st.integers(0, 5), st.randoms(use_true_random=False))
def test_every_group_lives_through_every_day_once_in_order(
    costs: list[float], workers: int, days: int, choose: random.Random
) -> None:
    queue = WorkQueue(costs, workers, range(1, days + 1))
    lived: list[list[int]] = [[] for _ in costs]
    busy: dict[int, tuple[int, int]] = {}
    ready = 0
    while True:
        worker = choose.randrange(workers)
        if worker in busy:
            group, day = busy.pop(worker)
            lived[group].append(day)
            queue.done(group, choose.random())
            continue
        turn = queue.take(worker, ready)
        if turn == "end":
            break
        if turn == "wait for others":
            assert busy
        elif isinstance(turn, str):
            assert not busy
            ready += 1
        else:
            assert turn[0] not in [group for group, _ in busy.values()]
            assert turn[1] <= ready
            busy[worker] = turn
    assert not busy
    assert lived == [list(range(1, days + 1))] * len(costs)
