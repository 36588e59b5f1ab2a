"""Whose turn it is to make something: kernel locks, which a killed process lets go."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exfm_ray.data.location import Location
from exfm_ray.data.store.turns import deleting, turn, using
from exfm_ray.errors import WaitError

HOLDER = """
    import sys, time
    from exfm_ray.data.location import Location
    from exfm_ray.data.store.turns import turn
    with turn(Location(sys.argv[1]), lambda: 1, 60, "it", print):
        print("holds", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Location:
    return Location.of(str(tmp_path / "kind" / "key.making"))


@pytest.fixture
def holder(lock: Location) -> Iterator[subprocess.Popen[str]]:
    """Another process whose turn it is."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), lock.uri]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_killed_process_lets_go(lock: Location, holder: subprocess.Popen[str]) -> None:
    told: list[str] = []
    threading.Timer(0.5, os.kill, (holder.pid, signal.SIGKILL)).start()
    with turn(lock, lambda: 1, 60, "the FM", told.append):
        assert holder.wait() == -signal.SIGKILL
    assert told == ["the FM: another run makes it in the store; waiting for what it commits"]


@pytest.mark.usefixtures("holder")
def test_nobody_waits_once_all_is_there(lock: Location) -> None:
    left = iter([2, 2, 1, 0])
    with turn(lock, lambda: next(left), 60, "the FM", print):
        pass
    assert next(left, None) is None


@pytest.mark.usefixtures("holder")
def test_nothing_to_make_needs_no_turn(lock: Location) -> None:
    told: list[str] = []
    with turn(lock, lambda: 0, 60, "the FM", told.append):
        assert told == []


@pytest.mark.usefixtures("holder")
def test_a_wait_in_which_nothing_comes_ends(lock: Location) -> None:
    told = r"waited 0 s for the FM, which the run that holds .*key\.making makes"
    with pytest.raises(WaitError, match=told), turn(lock, lambda: 1, 0.3, "the FM", print):
        pass


def test_what_is_used_is_not_deleted(lock: Location) -> None:
    with using(lock), using(lock), deleting(lock) as is_free:
        assert not is_free
    with deleting(lock) as is_free:
        assert is_free


def test_without_a_lock_nobody_waits() -> None:
    remote = Location("s3://bucket/store/fm/key.making")
    for place in (None, remote):
        with turn(place, lambda: 1, 0, "the FM", print):
            pass
    with using(remote), deleting(remote) as is_free:
        assert is_free
