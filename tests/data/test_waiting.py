"""Waiting for commits of other steps."""

import threading
from pathlib import Path

import pytest

from exfm_ray.data.commit import Stopwatch, commit
from exfm_ray.data.location import Location
from exfm_ray.data.waiting import wait_until_committed
from exfm_ray.errors import WaitError
from exfm_ray.waits import current_waits


def test_what_is_there_is_returned_at_once(tmp_path: Path) -> None:
    place = Location.of(str(tmp_path / "day"))
    made = commit(place, [], {"day": 1}, Stopwatch.start())
    assert wait_until_committed(place, 0.0, "day 1") == made


def test_what_comes_later_is_waited_for(tmp_path: Path) -> None:
    place = Location.of(str(tmp_path / "day"))
    threading.Timer(0.2, lambda: commit(place, [], {"day": 1}, Stopwatch.start())).start()
    assert wait_until_committed(place, 30.0, "day 1").about == {"day": 1}


def test_a_wait_ends_and_says_what_for(tmp_path: Path) -> None:
    with pytest.raises(
        WaitError, match=r"waited 0 s for the supervision of day 5 at .*, and it is not there; .* raise"
    ):
        wait_until_committed(Location.of(str(tmp_path / "day")), 0.1, "the supervision of day 5")


def test_what_is_waited_for_can_be_told_meanwhile(tmp_path: Path) -> None:
    place, seen = Location.of(str(tmp_path / "day")), []

    def look() -> None:
        seen.extend(wait.what for wait in current_waits())
        commit(place, [], {"day": 1}, Stopwatch.start())

    threading.Timer(0.2, look).start()
    wait_until_committed(place, 30.0, "the partition of day 1")
    assert seen == ["the partition of day 1"]
    assert current_waits() == []
