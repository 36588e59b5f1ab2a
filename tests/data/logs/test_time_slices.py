from itertools import pairwise

import numpy as np
import pytest

from exfm_ray.data.logs import time_slices
from exfm_ray.data.logs.time_slices import TimeSlice, cut_days, slices_of_day
from exfm_ray.errors import UserError


def test_days_end_where_times_change_nearest_to_their_share() -> None:
    times = np.array([1, 1, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8])
    assert cut_days(times, 3) == [
        TimeSlice(1, 1.0, 1.0, 0, 4),
        TimeSlice(2, 2.0, 4.0, 4, 4),
        TimeSlice(3, 5.0, 8.0, 8, 4),
    ]
    tied = np.array([1, 2, 2, 2, 2, 2, 2, 9])  # its half lies within the tie, as near to either end
    assert [piece.rows for piece in cut_days(tied, 2)] == [1, 7]


def test_slices_cover_every_event_once_and_never_part_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_slices, "ROWS_PER_SLICE", 50)
    times = np.sort(np.random.default_rng(0).integers(0, 300, 2_000))
    slices = cut_days(times, 4)
    assert slices[0].first_rank == 0
    for piece, following in pairwise(slices):
        assert piece.first_rank + piece.rows == following.first_rank
        assert piece.last_time < following.first_time
        assert piece.day <= following.day
    assert slices[-1].first_rank + slices[-1].rows == 2_000
    for piece in slices:
        held = times[piece.first_rank : piece.first_rank + piece.rows]
        assert (held[0], held[-1]) == (piece.first_time, piece.last_time)
    assert max(piece.rows for piece in slices) < 70
    rows = [sum(piece.rows for piece in slices_of_day(slices, day)) for day in (1, 2, 3, 4)]
    assert max(abs(count - 500) for count in rows) < 10


@pytest.mark.parametrize("times", [[], [1, 1], [1, 2, 2, 2, 2, 2]])
def test_too_few_times_are_told(times: list[int]) -> None:
    with pytest.raises(UserError, match=f"data.days: 3, but {len(times)} events at {len({*times})} distinct times"):
        cut_days(np.array(times, dtype=np.int64), 3)
