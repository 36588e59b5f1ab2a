"""The contract of the latest pointer; a new backend gets these tests by joining BACKENDS in conftest.py."""

import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from exfm_ray.das.pointer import LatestPointer, extend_lease, point_to
from exfm_ray.das.pointer_at import pointer_at


def test_it_says_nothing_at_first(pointer: LatestPointer) -> None:
    assert pointer.read() is None


def test_a_write_is_read(pointer: LatestPointer) -> None:
    written = pointer.compare_and_set(None, 3, 100.0)
    assert written is not None
    assert (written.version, written.snapshot_day, written.lease_until) == (1, 3, 100.0)
    assert pointer.read() == written


@pytest.mark.parametrize("expected", [None, 0, 2])
def test_a_write_on_another_version_is_lost(pointer: LatestPointer, expected: int | None) -> None:
    pointer.compare_and_set(None, 3, 100.0)
    assert pointer.compare_and_set(expected, 4, 200.0) is None
    held = pointer.read()
    assert held is not None
    assert held.snapshot_day == 3


def test_pointing_gives_a_lease(pointer: LatestPointer) -> None:
    assert point_to(pointer, 1, now=1_000.0, lease_seconds=60).lease_until == 1_060.0
    assert point_to(pointer, 2, now=1_001.0, lease_seconds=60).version == 2


def test_pointing_again_to_the_same_changes_nothing_while_the_lease_is_fresh(pointer: LatestPointer) -> None:
    point_to(pointer, 1, now=1_000.0, lease_seconds=60)
    assert point_to(pointer, 1, now=1_029.0, lease_seconds=60).version == 1
    assert point_to(pointer, 1, now=1_031.0, lease_seconds=60).version == 2


def test_a_lease_is_extended_once_half_of_it_has_gone(pointer: LatestPointer) -> None:
    point_to(pointer, 1, now=1_000.0, lease_seconds=60)
    extend_lease(pointer, now=1_029.0, lease_seconds=60)
    assert pointer.read() == point_to(pointer, 1, now=1_000.0, lease_seconds=60)
    extend_lease(pointer, now=1_031.0, lease_seconds=60)
    held = pointer.read()
    assert held is not None
    assert (held.version, held.lease_until, held.snapshot_day) == (2, 1_091.0, 1)


def test_nothing_is_extended_where_nothing_is_held(pointer: LatestPointer) -> None:
    assert extend_lease(pointer, now=0.0, lease_seconds=60) is None
    assert pointer.read() is None


def test_the_lease_of_what_is_no_longer_named_is_remembered(pointer: LatestPointer) -> None:
    point_to(pointer, 1, now=1_000.0, lease_seconds=60)
    assert point_to(pointer, 2, now=1_010.0, lease_seconds=60).older_until == 1_060.0
    extend_lease(pointer, now=1_050.0, lease_seconds=60)
    held = pointer.read()
    assert held is not None
    assert (held.lease_until, held.older_until) == (1_110.0, 1_060.0)


def test_it_survives_being_opened_anew(address: str) -> None:
    for day in (5, 6):
        with closing(pointer_at(address)) as first:
            point_to(first, day, now=0.0, lease_seconds=60)
        with closing(pointer_at(address)) as second:
            held = second.read()
        assert held is not None
        assert (held.version, held.snapshot_day) == (day - 4, day)


ROUNDS = 1_000


def test_of_two_updaters_one_wins_each_time_and_no_reader_goes_back(address: str) -> None:
    start, over = threading.Barrier(2), threading.Event()

    def update(updater: int) -> list[bool]:
        won = []
        with closing(pointer_at(address)) as own:
            for version in range(ROUNDS):
                start.wait(timeout=60)
                written = own.compare_and_set(version or None, updater, float(version))
                assert written is None or written.version == version + 1
                won.append(written is not None)
        return won

    def read() -> list[int]:
        versions = []
        with closing(pointer_at(address)) as own:
            while not over.is_set():
                held = own.read()
                versions.append(held.version if held else 0)
        return versions

    with ThreadPoolExecutor(3) as pool:
        reader = pool.submit(read)
        updaters = [pool.submit(update, updater) for updater in (1, 2)]
        try:
            first, second = (updater.result(timeout=120) for updater in updaters)
        finally:
            over.set()
        versions = reader.result(timeout=60)
    assert [one + other for one, other in zip(first, second, strict=True)] == [1] * ROUNDS
    assert versions == sorted(versions)
    assert len(set(versions)) > 10, "the reader saw too little to tell anything"


COUNTER = """
    import os, sys
    from exfm_ray.das.pointer_at import pointer_at
    if "RAY_ADDRESS" in os.environ:
        import ray
        ray.init(logging_level="critical")
    pointer, won = pointer_at(sys.argv[1]), 0
    while won < 100:
        held = pointer.read()
        if pointer.compare_and_set(held.version if held else None, (held.snapshot_day if held else 0) + 1, 0.0):
            won += 1
"""


def test_no_update_of_three_processes_is_lost(address: str, pointer: LatestPointer) -> None:
    command = [sys.executable, "-c", textwrap.dedent(COUNTER), address]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    held = pointer.read()
    assert held is not None
    assert (held.snapshot_day, held.version) == (300, 300)
