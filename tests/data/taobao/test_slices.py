import numpy as np
import pytest

from exfm_ray.config import TaobaoData
from exfm_ray.data.taobao.slices import cut_slices
from exfm_ray.errors import UserError

CONFIG = TaobaoData(path="raw", last_date="2017-05-08", domain_days=1)


def test_days_are_cut_between_bins_where_a_slice_would_be_too_large() -> None:
    bins = np.array([[3, 3, 0, 4, 1], [20, 1, 0, 0, 0], [0, 0, 0, 0, 1]])
    slices = cut_slices(CONFIG, bins, 6)
    assert slices.of_bin.tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4]
    assert (slices.count, [slices.parts(day) for day in (1, 2, 3)]) == (5, [2, 2, 1])
    assert [slices.number(day, 0) for day in (1, 2, 3)] == [0, 2, 4]


def test_a_day_without_impressions_is_the_users_mistake() -> None:
    bins = np.array([[1, 1], [0, 0], [1, 1]])
    with pytest.raises(UserError, match="2017-05-06 to 2017-05-08, but the log has no impressions on 2017-05-07"):
        cut_slices(CONFIG, bins, 6)
