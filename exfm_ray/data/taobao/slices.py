"""Days of TaobaoAd cut into time slices of bounded size, from how many impressions each bin of time has."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from exfm_ray.config import TaobaoData
from exfm_ray.data.logs.line_ranges import RANGE_BYTES
from exfm_ray.data.taobao.features import Integers
from exfm_ray.errors import UserError


@dataclass(frozen=True)
class Sizes:
    """How finely the work is cut, which bounds the memory of every process. The rows of the days are the same."""

    range_bytes: int = RANGE_BYTES
    """text of a log that is read at once"""
    chunk_rows: int = 4 * 2**20
    """rows of a log that are scattered at once; a gzip, which is one range, has many times as many"""
    bucket_bytes: int = 96 * 2**20
    """text of both logs that goes into one bucket of users, on average"""
    slice_rows: int = 131_072
    """rows of a part of a day; more only where a single bin of time has more"""


@dataclass(frozen=True)
class Slices:
    """Slices of all days, numbered from 0 in order of time."""

    of_bin: Integers
    """(bins,) slice of each bin"""
    of_day: Integers
    """(days + 1,) the first slice of each day, then the number of all"""

    @property
    def count(self) -> int:
        return int(self.of_day[-1])

    def parts(self, day: int) -> int:
        return int(self.of_day[day] - self.of_day[day - 1])

    def number(self, day: int, part: int) -> int:
        return int(self.of_day[day - 1]) + part


def cut_slices(config: TaobaoData, bins: Integers, slice_rows: int) -> Slices:
    """Cut every day where the next bin would make a slice too large.

    Args:
        bins: (days, bins per day) impressions of each bin.

    Raises:
        UserError: a day has no impressions.
    """
    of_bin, of_day = np.empty_like(bins), [0]
    for day, counts in enumerate(bins):
        if not counts.any():
            date = config.first_date + timedelta(days=day)
            raise UserError(
                f"data.first_date, data.last_date: {config.first_date} to {config.last_date}, but the log has no "
                f"impressions on {date}; choose dates that all have some"
            )
        slice_number, held = of_day[-1], 0
        for index, count in enumerate(counts.tolist()):
            if held and held + count > slice_rows:
                slice_number, held = slice_number + 1, 0
            of_bin[day, index] = slice_number
            held += count
        of_day.append(slice_number + 1)
    return Slices(of_bin.reshape(-1), np.array(of_day))
