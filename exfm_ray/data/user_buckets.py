"""A log scattered by user: what is needed of one user lies together, however large the log is.

Rows of many users are written as one Parquet file whose row group b holds the rows of bucket b, so that a bucket is
read from every file without the rest of it.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from exfm_ray.data.commit import CommittedFile, require, write_file
from exfm_ray.data.hashing import mixed
from exfm_ray.data.location import Location

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


def write_buckets(
    directory: Location, part: int, table: pa.Table, users: NDArray[np.int64], buckets: int
) -> CommittedFile:
    """Write rows so that each bucket can be read alone; rows of a bucket keep their order.

    Args:
        part: place of the file in the log's order.
        table: N rows.
        users: (N,) whose rows they are.
    """
    bucket = (mixed(users.astype(np.uint64)) % np.uint64(buckets)).astype(np.int64)
    ordered = table.take(np.argsort(bucket, kind="stable"))
    ends = np.cumsum(np.bincount(bucket, minlength=buckets))
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", write_page_checksum=True) as writer:
        for begin, end in zip(np.append(0, ends[:-1]).tolist(), ends.tolist(), strict=True):
            writer.write_table(ordered.slice(begin, end - begin), row_group_size=max(1, end - begin))
    return write_file(directory, f"part-{part:05d}", ".parquet", sink.getvalue().to_pybytes(), table.num_rows)


def read_bucket(directories: Sequence[Location], bucket: int) -> pa.Table:
    """The rows of one bucket from committed directories, in order."""
    tables = []
    for directory in directories:
        for file in require(directory).files:
            system, path = (directory / file.name).opened()
            with system.open_input_file(path) as source:
                parquet = pq.ParquetFile(source, page_checksum_verification=True)
                tables.append(parquet.read_row_group(bucket))
    return pa.concat_tables(tables).combine_chunks()
