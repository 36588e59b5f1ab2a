"""A log scattered by user: what is needed of one user lies together, however large the log is."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.data.commit import require
from exfm_ray.data.hashing import mixed
from exfm_ray.data.location import Location
from exfm_ray.data.logs.groups import GroupFile, read_group, scattered, write_groups

BYTES_PER_BUCKET = 64 * 2**20
"""of plain text that a bucket may come from"""
MOST_BUCKETS = 512
GZIP_RATIO = 4


def bucket_count(files: Iterable[Location], kept: float = 1) -> int:
    """How many buckets a log is worth, so that one fits in memory many times.

    Args:
        kept: the part of the text that is not left out.
    """
    sizes = (file.size() * (GZIP_RATIO if file.name.endswith(".gz") else 1) for file in files)
    return int(np.clip(-(-sum(sizes) * kept // BYTES_PER_BUCKET), 1, MOST_BUCKETS))


def write_buckets(directory: Location, table: pa.Table, users: NDArray[np.int64], buckets: int) -> GroupFile:
    """Write rows as groups of which each is a bucket; rows of a bucket keep their order.

    Args:
        table: N rows.
        users: (N,) whose rows they are.
    """
    bucket = (mixed(users.astype(np.uint64)) % np.uint64(buckets)).astype(np.uint16)
    return write_groups(directory, scattered(table, bucket, buckets))


def read_bucket(directories: Sequence[Location], bucket: int) -> pa.Table:
    """The rows of one bucket from committed pieces, in order; at least one of these has rows."""
    pieces = [read_group(directory, bucket) for directory in directories if require(directory).files]
    return pa.concat_tables(pieces).combine_chunks()
