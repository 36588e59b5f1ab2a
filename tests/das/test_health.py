"""A replica whose threads are dead or stuck says so; one that is only busy does not."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from exfm_ray.das.health import Health, UnhealthyError


@pytest.fixture
def compute() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield executor


@pytest.fixture
def follower() -> Iterator[threading.Thread]:
    """Alive until the test ends."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield thread
    end.set()
    thread.join()


def test_a_replica_at_rest_is_well(follower: threading.Thread, compute: ThreadPoolExecutor) -> None:
    now = [0.0]
    health = Health(follower, compute, 60.0, lambda: now[0])
    for now[0] in (0.0, 100.0, 200.0):
        health.check()
        compute.submit(int).result()  # behind the probe, which is back by now


def test_a_dead_follower_is_told(compute: ThreadPoolExecutor) -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    with pytest.raises(UnhealthyError, match="pointer is dead"):
        Health(thread, compute, 60.0, lambda: 0.0).check()


def test_a_stuck_computation_is_told_once_it_has_taken_too_long(
    follower: threading.Thread, compute: ThreadPoolExecutor
) -> None:
    now, done = [0.0], threading.Event()
    stuck = compute.submit(done.wait)
    health = Health(follower, compute, 60.0, lambda: now[0])
    for now[0] in (0.0, 30.0, 60.0):
        health.check()
    now[0] = 61.0
    with pytest.raises(UnhealthyError, match="for 61 s, and 60 are allowed"):
        health.check()
    done.set()
    stuck.result()
    compute.submit(int).result()
    health.check()
