import numpy as np

from exfm_ray.data.logs.distinct_rows import distinct_rows


def test_the_first_of_equal_rows_stays() -> None:
    users, items = np.array([3, 1, 3, 3, 1, 1]), np.array([7, 7, 7, 8, 7, 9])
    assert distinct_rows(users, items).tolist() == [0, 1, 3, 5]
    assert distinct_rows(users).tolist() == [0, 1]
    assert distinct_rows(np.array([], dtype=np.int64)).tolist() == []
