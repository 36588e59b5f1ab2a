"""What both layouts of TaobaoAd share in making days: a day's table, and domains decided by training days alone."""

from typing import Any

import numpy as np
import pyarrow as pa

from exfm_ray.config import TaobaoData
from exfm_ray.data.logs.domains import merge_levels
from exfm_ray.data.partitions import arrow_schema
from exfm_ray.data.taobao.features import Integers
from exfm_ray.schema import DOMAIN, STAGE, Schema


def day_table(schema: Schema, columns: dict[str, Any], domains: Integers) -> pa.Table:
    """A time slice of a day from its N rows' columns, all but the domain and the stage, and their (N,) domains."""
    expected = arrow_schema(schema)
    columns = columns | {DOMAIN: domains, STAGE: np.zeros_like(domains)}
    return pa.table([_typed(columns[field.name], field.type) for field in expected], schema=expected)


def _typed(values: Any, kind: pa.DataType) -> pa.Array:
    return (values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)).cast(kind)


def domains_of_levels(config: TaobaoData, counts: Integers) -> Integers:
    """(levels,) domain of each level.

    Args:
        counts: (levels,) rows of each level in days 1 to `config.domain_days`; later days must not be counted, for a
            split that knows them would leak.

    Raises:
        UserError: the column has fewer levels than there shall be domains.
    """
    if config.domain_column is None or config.domains is None:
        return np.arange(len(counts)) if config.domain_column else np.zeros(1, dtype=np.int64)
    merged = merge_levels(dict(enumerate(counts.tolist())), config.domains)
    return np.array([merged[level] for level in range(len(counts))])


def told_domains(config: TaobaoData, domains: Integers) -> dict[str, list[int]] | str:
    """Which levels each domain has, for the summary."""
    if config.domain_column is None:
        return "all rows are one domain"
    return {str(domain): np.flatnonzero(domains == domain).tolist() for domain in range(int(domains.max()) + 1)}
