"""TaobaoAd prepared by the processes of a cluster, as the command does it."""

from pathlib import Path

import pytest

from exfm_ray.cluster import task_cluster
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import committed_days
from exfm_ray.errors import UserError
from exfm_ray.prepare_log import prepare_log
from tests.data.taobao.test_source import config_of, make_world


@pytest.mark.ray
def test_a_wrong_line_is_told_in_one_line_and_the_mended_file_is_prepared(tmp_path: Path) -> None:
    path, out = make_world().write(tmp_path / "raw"), Location.of(str(tmp_path / "days"))
    log = path / "behavior_log.csv"
    whole = log.read_bytes()
    log.write_bytes(whole + b"1,5,look,1,1\n")
    with task_cluster(None, tmp_path / "logs") as spread:
        with pytest.raises(UserError) as error:
            list(prepare_log(config_of(path), out, spread))
        told = "line 439, column btag: found 'look', expected pv or cart or fav or buy; mend that line"
        assert str(error.value) == f"data.path: {log}, {told}"
        assert not committed_days(out)

        log.write_bytes(whole)
        lines = list(prepare_log(config_of(path), out, spread))
    assert lines[0] == "rows: 325"
    assert lines[-1] == f"prepared 8 days, 325 rows: {out}"
    assert committed_days(out) == [*range(1, 9)]
