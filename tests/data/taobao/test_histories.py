import numpy as np
import pyarrow as pa

from exfm_ray.data.taobao.histories import behavior_histories, whole_histories, with_histories
from exfm_ray.data.taobao.scatter import LAST_BRAND, LAST_CATE, pack_behaviors, unpack_behaviors


def test_packed_behaviours_are_unpacked_and_keep_their_order() -> None:
    cates, brands, btags = (
        np.array(values) for values in ([-1, 0, 0, 0, LAST_CATE], [LAST_BRAND, -1, 5, 5, LAST_BRAND], [4, 1, 1, 2, 4])
    )
    packed = pack_behaviors(cates, brands, btags)
    for found, expected in zip(unpack_behaviors(packed), (cates, brands, btags), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert np.all(np.diff(packed) > 0)
    assert packed.min() >= 0


def test_histories_of_near_rows_share_what_they_have_and_are_made_whole_again() -> None:
    rng = np.random.default_rng(2)
    users, times, behaviors = (rng.integers(0, limit, 600) for limit in (9, 100, 5))
    histories, repeated = behavior_histories(users, times, behaviors, 0, 100)
    entries = sorted(set(zip(users.tolist(), times.tolist(), behaviors.tolist(), strict=True)))
    assert repeated == 600 - len(entries) > 0

    event_users, event_times = rng.integers(0, 12, 300), rng.integers(0, 101, 300)  # users 9 to 11 did nothing
    order = np.lexsort((event_times, event_users))
    rows = pa.table({"user": event_users[order], "time": event_times[order]})
    stored = with_histories(rows, histories, 7)
    shuffled = rng.permutation(300)
    whole = whole_histories(stored, shuffled).to_pylist()
    for place, history in zip(shuffled.tolist(), whole, strict=True):
        user, time = rows["user"][place].as_py(), rows["time"][place].as_py()
        assert history == [entry[2] for entry in entries if entry[0] == user and entry[1] < time][-7:]
    kept = sum(map(len, stored["fresh"].to_pylist()))
    assert kept < sum(map(len, whole)) / 1.5
