from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from exfm_ray.data import partitions
from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.location import Location
from exfm_ray.data.logs.time_slices import TimeSlice
from exfm_ray.data.logs.user_events import (
    commit_slices,
    commit_user_events,
    distinct_values,
    event_times,
    gather,
    read_slices,
    totals,
)


def committed_bucket(directory: Location, rows: list[tuple[int, int, int, int, int]], seen: list[int]) -> Location:
    """Rows of (time, user, place, begin and end in `seen`)."""
    columns = np.array(rows, np.int64).reshape(-1, 5).T.copy()
    names = ["time", "user", "place", "seen_begin", "seen_end"]
    events = pa.table(dict(zip(names, columns, strict=True)))
    commit_user_events(directory, events, {"seen": np.array(seen, np.int64)}, {"users": 1}, Stopwatch.start())
    return directory


@pytest.fixture
def buckets(tmp_path: Path) -> list[Location]:
    places = [Location.of(str(tmp_path / name)) for name in ("a", "b", "c")]
    return [
        committed_bucket(places[0], [(30, 4, 1, 0, 2), (10, 4, 0, 0, 0), (20, 2, 0, 1, 3)], [7, 8, 9]),
        committed_bucket(places[1], [], []),
        committed_bucket(places[2], [(20, 1, 5, 1, 2), (20, 1, 3, 0, 1), (40, 1, 6, 0, 2)], [70, 80]),
    ]


@pytest.mark.parametrize("rows", [1, 65_536])
def test_events_of_all_buckets_in_order_with_their_lists(
    buckets: list[Location], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    found = gather(buckets, TimeSlice(1, 20, 30, 1, 4))
    assert found.columns.select(["time", "user", "place"]).to_pydict() == {
        "time": [20, 20, 20, 30],
        "user": [1, 1, 2, 4],
        "place": [3, 5, 0, 1],
    }
    assert found.lists["seen"].to_pylist() == [[70], [80], [8, 9], [7, 8]]
    monkeypatch.setattr(partitions, "ROW_GROUP_ROWS", rows)
    again = [committed_bucket(Location.of(str(tmp_path / f"again{rows}")), [(t, 1, t, 0, 1) for t in range(9)], [5])]
    assert gather(again, TimeSlice(1, 3, 5, 0, 3)).columns["place"].to_pylist() == [3, 4, 5]


def test_what_all_buckets_hold(buckets: list[Location], tmp_path: Path) -> None:
    assert event_times(buckets).tolist() == [10, 20, 20, 20, 30, 40]
    assert distinct_values(buckets, "user").tolist() == [1, 2, 4]
    assert totals(buckets) == {"events": 6, "users": 3}
    directory = Location.of(str(tmp_path / "slices"))
    commit_slices(directory, buckets, 3, {"more": 1})
    assert read_slices(directory) == (
        TimeSlice(1, 10, 10, 0, 1),
        TimeSlice(2, 20, 20, 1, 3),
        TimeSlice(3, 30, 40, 4, 2),
    )
