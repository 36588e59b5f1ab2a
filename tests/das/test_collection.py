"""What the pointer names, and what may still be in use, is never collected."""

import pytest

from exfm_ray.das.collection import collectable
from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.pointer import PointerRecord, extend_lease, point_to

DAYS = [1, 2, 3, 4]


def record(snapshot_day: int, lease_until: float, older_until: float) -> PointerRecord:
    return PointerRecord(version=9, snapshot_day=snapshot_day, lease_until=lease_until, older_until=older_until)


def test_nothing_is_collected_before_anything_is_named() -> None:
    assert collectable(DAYS, None, now=1e12) == []


@pytest.mark.parametrize(("now", "expected"), [(0.0, []), (59.9, []), (60.0, [1, 2]), (100.0, [1, 2])])
def test_older_snapshots_wait_for_the_end_of_their_lease(now: float, expected: list[int]) -> None:
    assert collectable(DAYS, record(3, lease_until=120.0, older_until=60.0), now) == expected


def test_what_is_named_is_kept_even_without_a_lease() -> None:
    assert collectable(DAYS, record(3, lease_until=0.0, older_until=0.0), now=1e12) == [1, 2]


def test_extending_the_lease_of_what_is_named_does_not_keep_what_is_older(tmp_path: object) -> None:
    pointer, now = EmbeddedPointer(str(tmp_path)), 0.0
    point_to(pointer, 1, now, lease_seconds=60)
    point_to(pointer, 2, now, lease_seconds=60)
    for now in (40.0, 80.0):
        extend_lease(pointer, now, lease_seconds=60)
        held = pointer.read()
        assert held is not None
        assert held.lease_until > now
        assert collectable(DAYS, held, now) == ([1] if now >= 60 else [])


def test_going_back_keeps_the_longer_of_the_leases(tmp_path: object) -> None:
    pointer = EmbeddedPointer(str(tmp_path))
    for day, lease_seconds in ((1, 100), (2, 50), (3, 50)):
        point_to(pointer, day, now=0.0, lease_seconds=lease_seconds)
    assert collectable(DAYS, pointer.read(), now=99.0) == []
    assert collectable(DAYS, pointer.read(), now=100.0) == [1, 2]
