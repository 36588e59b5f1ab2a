"""Rows from outside, checked against what the FM reads: nothing else reaches a replica."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from exfm_ray.das.arrow_rows import arrow_rows
from exfm_ray.das.json_rows import json_rows
from exfm_ray.das.refusal import RefusedError
from exfm_ray.das.request_limits import RequestLimits
from exfm_ray.schema import Feature, Schema

JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
READERS: dict[str, Callable[[bytes, Schema, RequestLimits], pa.Table]] = {JSON: json_rows, ARROW: arrow_rows}


def request_rows(media_type: str, content: bytes, inputs: Schema, limits: RequestLimits) -> pa.Table:
    """The rows of a request's body: (B,) int64, float32 and list<int64> columns that the FM can encode.

    Args:
        media_type: a key of READERS.
        inputs: what the FM reads.

    Raises:
        RefusedError: 400 where the body cannot be read, 413 for too many rows, 422 with the first value that is wrong.
    """
    rows = READERS[media_type](content, inputs, limits)
    table_of = {feature.name: feature for feature in inputs.of_kind("categorical")}
    for feature in inputs.features:
        column = rows[feature.name]
        if feature.kind == "categorical":
            _check_identity(feature.name, feature, column.to_numpy(), range(len(column)))
        elif feature.kind == "numeric":
            _check_finite(feature.name, column.to_numpy())
        else:
            lengths = pc.list_value_length(column).to_numpy()
            _check_lengths(feature.name, lengths, limits.history)
            of_rows = np.repeat(np.arange(len(lengths)), lengths)
            _check_identity(feature.name, table_of[feature.shares or ""], _values(column), of_rows)
    return rows


def _values(lists: pa.ChunkedArray) -> NDArray[Any]:
    return np.concatenate([chunk.flatten().to_numpy() for chunk in lists.chunks])


def _check_identity(name: str, table: Feature, values: NDArray[Any], of_rows: Any) -> None:
    """A value that is itself a row of the embedding table must be one."""
    if table.encoding == "identity" and (wrong := _first((values < 0) | (values >= table.rows))) is not None:
        raise RefusedError(422, f"rows[{of_rows[wrong]}].{name}: found {values[wrong]}; allowed: 0 to {table.rows - 1}")


def _check_finite(name: str, values: NDArray[Any]) -> None:
    if (wrong := _first(~np.isfinite(values))) is not None:
        raise RefusedError(
            422, f"rows[{wrong}].{name}: found {values[wrong]}; allowed: a finite number that float32 can hold"
        )


def _check_lengths(name: str, lengths: NDArray[Any], most: int) -> None:
    if (wrong := _first(lengths > most)) is not None:
        raise RefusedError(422, f"rows[{wrong}].{name}: found {lengths[wrong]} values; at most {most} are allowed")


def _first(wrong: NDArray[np.bool_]) -> int | None:
    return int(wrong.argmax()) if wrong.any() else None
