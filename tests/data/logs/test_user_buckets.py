from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from exfm_ray.data.commit import Stopwatch
from exfm_ray.data.location import Location
from exfm_ray.data.logs import user_buckets
from exfm_ray.data.logs.groups import commit_groups
from exfm_ray.data.logs.user_buckets import bucket_count, read_bucket, write_buckets


def test_each_user_is_in_one_bucket_with_all_rows_in_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pieces, tables = [], []
    for piece in range(2):
        directory = Location.of(str(tmp_path / f"piece={piece}"))
        files = []
        for part in range(3):
            users = rng.integers(-20, 20, 100)
            row = np.arange(100) + 1_000 * part + 10_000 * piece
            tables.append(pa.table({"user": users, "row": row, "list": [[int(user)] for user in users]}))
            files.append(write_buckets(directory, tables[-1], users, 7))
        commit_groups(directory, files, {}, Stopwatch.start())
        pieces.append(directory)
    buckets = [read_bucket(pieces, bucket) for bucket in range(7)]
    found = [set(bucket["user"].to_pylist()) for bucket in buckets]
    assert sum(map(len, found)) == len(set().union(*found)) == 40
    everything = pa.concat_tables(tables)
    for users, bucket in zip(found, buckets, strict=True):
        wanted = [user in users for user in everything["user"].to_pylist()]
        assert bucket.to_pylist() == everything.filter(pa.array(wanted)).to_pylist()


def test_empty_buckets_keep_their_columns(tmp_path: Path) -> None:
    directory, users = Location.of(str(tmp_path)), np.array([5, 5])
    file = write_buckets(directory, pa.table({"user": users}), users, 50)
    commit_groups(directory, [file], {}, Stopwatch.start())
    rows = [read_bucket([directory], bucket).num_rows for bucket in range(50)]
    assert sorted(rows) == [0] * 49 + [2]
    assert read_bucket([directory], rows.index(0)).schema.names == ["user"]


def test_a_log_is_worth_buckets_by_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_buckets, "BYTES_PER_BUCKET", 100)
    (tmp_path / "log.txt").write_bytes(b"x" * 950)
    (tmp_path / "log.txt.gz").write_bytes(b"x" * 50)
    plain, packed = (Location.of(str(tmp_path / name)) for name in ("log.txt", "log.txt.gz"))
    assert bucket_count([plain]) == 10
    assert bucket_count([plain], kept=0.5) == 5
    assert bucket_count([packed]) == 2
    assert bucket_count([plain, packed]) == 12
    monkeypatch.setattr(user_buckets, "BYTES_PER_BUCKET", 1)
    assert bucket_count([plain]) == user_buckets.MOST_BUCKETS
