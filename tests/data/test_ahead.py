"""Items that are made in the background: the same ones, one ahead, and nothing left behind."""

import threading
from collections.abc import Iterator

import pytest

from exfm_ray.data.ahead import made_ahead

PATIENCE = 30.0
"""seconds, after which a thread that should have done something is taken for stuck"""


def threads_ahead() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_items_are_the_same_in_the_same_order(count: int) -> None:
    assert list(made_ahead(iter(range(count)))) == list(range(count))
    assert threads_ahead() == []


def test_nothing_as_an_item_is_an_item() -> None:
    assert list(made_ahead(iter([None, 0, False]))) == [None, 0, False]


def test_the_next_item_is_made_while_the_caller_has_one_and_the_one_after_is_not() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for index, event in enumerate(made):
            event.set()
            yield index

    found = made_ahead(items())
    assert next(found) == 0
    assert made[1].wait(PATIENCE)
    assert not made[2].is_set()
    assert next(found) == 1
    assert made[2].wait(PATIENCE)
    assert not made[3].is_set()


def test_a_failure_is_raised_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third cannot be read")

    found = made_ahead(items())
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ValueError, match="the third cannot be read") as raised:
        next(found)
    assert "items" in [entry.name for entry in raised.traceback]
    assert threads_ahead() == []
    assert list(found) == []


def test_a_caller_that_stops_early_leaves_no_thread_and_no_open_source() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(1_000)
        finally:
            closed.set()

    for item in made_ahead(items()):
        if item == 3:
            break
    assert closed.wait(PATIENCE)
    assert threads_ahead() == []


def test_a_caller_that_fails_waits_for_the_item_that_is_being_made() -> None:
    going_on, finished = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 0
        going_on.wait(PATIENCE)
        finished.set()
        yield 1

    with pytest.raises(RuntimeError, match="the caller's"):
        use_one_and_fail(made_ahead(items()), going_on)
    assert finished.is_set()
    assert threads_ahead() == []


def use_one_and_fail(found: Iterator[int], going_on: threading.Event) -> None:
    try:
        next(found)
        raise RuntimeError("the caller's")
    finally:
        going_on.set()
        found.close()  # type: ignore[attr-defined]
