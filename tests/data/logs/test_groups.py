from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from exfm_ray.data.commit import Stopwatch, committed
from exfm_ray.data.location import Location
from exfm_ray.data.logs.groups import commit_groups, read_group, read_groups, scattered, write_groups
from exfm_ray.errors import DataError


def rows(*values: int) -> pa.Table:
    return pa.table({"value": pa.array(values, pa.int64()), "double": [[2 * value] * 2 for value in values]})


def test_groups_are_read_on_their_own_over_all_files(tmp_path: Path) -> None:
    directory = Location.of(str(tmp_path))
    files = [
        write_groups(directory, scattered(rows(7, 1, 4, 0), np.array([3, 1, 3, 1], np.uint16), 5)),
        write_groups(directory, scattered(rows(9), np.array([1], np.uint16), 5)),
    ]
    assert committed(directory) is None
    commit_groups(directory, files, {"told": 1}, Stopwatch.start())
    read = [read_group(directory, group)["value"].to_pylist() for group in range(5)]
    assert read == [[], [1, 0, 9], [], [7, 4], []]
    assert read_group(directory, 3)["double"].to_pylist() == [[14, 14], [8, 8]]
    assert read_groups(directory, 0, ["value"]).to_pydict() == {"value": [1, 0, 7, 4]}
    assert read_groups(directory, 0, groups=range(2, 5))["value"].to_pylist() == [7, 4]
    manifest = committed(directory)
    assert manifest is not None
    assert (manifest.rows, manifest.about["told"]) == (5, 1)


def test_a_group_of_other_rows_than_committed_is_refused(tmp_path: Path) -> None:
    directory = Location.of(str(tmp_path))
    commit_groups(directory, [write_groups(directory, [rows(1, 2), rows(3)])], {}, Stopwatch.start())
    (tmp_path / "manifest.json").write_text((tmp_path / "manifest.json").read_text().replace("   2,", "   3,"))
    with pytest.raises(DataError, match="has 2 rows in row groups"):
        read_group(directory, 0)
