"""The contract of the latest pointer; a new backend gets these tests by joining the fixture."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from exfm_ray.das.pointer import EmbeddedPointer, LatestPointer, extend_lease, point_to


@pytest.fixture(params=["embedded"])
def pointer(request: pytest.FixtureRequest, tmp_path: Path) -> LatestPointer:
    assert request.param == "embedded"
    return EmbeddedPointer(str(tmp_path / "pointer"))


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


def test_the_embedded_pointer_survives_a_restart(tmp_path: Path) -> None:
    point_to(EmbeddedPointer(str(tmp_path)), 5, now=0.0, lease_seconds=60)
    held = EmbeddedPointer(str(tmp_path)).read()
    assert held is not None
    assert held.snapshot_day == 5


COUNTER = """
    import sys
    from exfm_ray.das.pointer import EmbeddedPointer
    pointer, won = EmbeddedPointer(sys.argv[1]), 0
    while won < 100:
        held = pointer.read()
        if pointer.compare_and_set(held.version if held else None, (held.snapshot_day if held else 0) + 1, 0.0):
            won += 1
"""


def test_no_update_of_two_processes_is_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(COUNTER), str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    held = EmbeddedPointer(str(tmp_path)).read()
    assert held is not None
    assert (held.snapshot_day, held.version) == (300, 300)
