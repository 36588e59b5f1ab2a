import numpy as np

from exfm_ray.data.kuaivideo.users import past_items


def test_items_of_the_same_user_strictly_before() -> None:
    users = np.array([1, 1, 1, 1, 2, 2, 2])
    times = np.array([5, 5, 6, 9, 9, 10, 11])
    items = np.array([50, 51, 52, 53, 60, 61, 62])
    chosen = np.array([True, True, False, True, False, True, True])
    past = past_items(users, times, items, chosen, 2)
    spans = [past.values[begin:end].tolist() for begin, end in zip(past.begins, past.ends, strict=True)]
    assert spans == [[], [], [50, 51], [50, 51], [], [], [61]]
    short = past_items(users, times, items, chosen, 1)
    assert short.values[short.begins[3] : short.ends[3]].tolist() == [51]


def test_nothing_at_all() -> None:
    none = np.array([], dtype=np.int64)
    past = past_items(none, none, none, none.astype(np.bool_), 3)
    assert [len(part) for part in (past.begins, past.ends, past.values)] == [0, 0, 0]
