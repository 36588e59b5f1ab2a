"""Rows from outside as JSON: `{"rows": [{feature: value, …}, …]}`."""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic_core import from_json

from exfm_ray.das.refusal import RefusedError, check_names, found
from exfm_ray.das.request_limits import RequestLimits
from exfm_ray.schema import Feature, Schema

FIRST_INTEGER, LAST_INTEGER = -(2**63), 2**63 - 1
AN_INTEGER = f"an integer from {FIRST_INTEGER} to {LAST_INTEGER}"
SHAPE = '{"rows": [{feature: value, …}, …]}'


def json_rows(content: bytes, inputs: Schema, limits: RequestLimits) -> pa.Table:
    """The rows as int64, float32 and list<int64> columns, in the schema's order.

    Raises:
        RefusedError: 400 where it is not JSON, 413 for too many rows, 422 for a wrong name or type.
    """
    try:
        document = from_json(content, allow_inf_nan=True)  # so that NaN is told by the feature that has it
    except ValueError as error:
        raise RefusedError(400, f"body: not JSON: {error}") from error
    rows = _rows_of(document)
    limits.check_rows(len(rows))
    names = [feature.name for feature in inputs.features]
    expected = set(names)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RefusedError(422, f"rows[{index}]: found {found(row)}; allowed: an object with a value per feature")
        if row.keys() != expected:
            check_names(list(row), names, f"rows[{index}].")
    columns = {feature.name: [row[feature.name] for row in rows] for feature in inputs.features}
    return pa.table({feature.name: _column(feature, columns[feature.name]) for feature in inputs.features})


def _rows_of(document: Any) -> list[Any]:
    if not isinstance(document, dict):
        raise RefusedError(422, f"body: found {found(document)}; allowed: {SHAPE}")
    check_names(list(document), ["rows"], "body: ")
    rows = document["rows"]
    if not isinstance(rows, list):
        raise RefusedError(422, f"rows: found {found(rows)}; allowed: a list of objects, as in {SHAPE}")
    return rows


def _column(feature: Feature, values: list[Any]) -> pa.Array:
    """Raises RefusedError: 422, a value of another type."""

    def place(index: int) -> str:
        return f"rows[{index}].{feature.name}"

    if feature.kind == "categorical":
        return _integers(values, place)
    if feature.kind == "numeric":
        return _numbers(values, place)
    _check_types(values, {list}, place, "a list of integers")
    offsets = list(accumulate(map(len, values), initial=0))

    def place_in_list(position: int) -> str:
        row = int(np.searchsorted(offsets, position, side="right")) - 1
        return f"{place(row)}[{position - offsets[row]}]"

    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), _integers([*chain(*values)], place_in_list))


def _integers(values: Sequence[Any], place: Callable[[int], str]) -> pa.Array:
    _check_types(values, {int}, place, AN_INTEGER)
    try:
        return pa.array(values, pa.int64())
    except OverflowError as error:
        index = next(i for i, value in enumerate(values) if not FIRST_INTEGER <= value <= LAST_INTEGER)
        raise RefusedError(422, f"{place(index)}: found {found(values[index])}; allowed: {AN_INTEGER}") from error


def _numbers(values: Sequence[Any], place: Callable[[int], str]) -> pa.Array:
    _check_types(values, {int, float}, place, "a number")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused with infinity itself
        return pa.array(np.array([*map(_float, values)], dtype=np.float64).astype(np.float32))


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _check_types(values: Iterable[Any], types: set[type], place: Callable[[int], str], allowed: str) -> None:
    """Exact types: true is no integer."""
    if not set(map(type, values)) <= types:
        index, value = next((i, value) for i, value in enumerate(values) if type(value) not in types)
        raise RefusedError(422, f"{place(index)}: found {found(value)}; allowed: {allowed}")
