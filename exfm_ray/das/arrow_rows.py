"""Rows from outside as an Arrow IPC stream."""

import pyarrow as pa

from exfm_ray.das.ipc_messages import check_messages
from exfm_ray.das.refusal import SHOWN_CHARACTERS, RefusedError, check_names
from exfm_ray.das.request_limits import RequestLimits
from exfm_ray.schema import Feature, Schema

EXTENSION = b"ARROW:extension:name"
TYPES = {
    "categorical": pa.int64(),
    "numeric": pa.float32(),
    "sequence": pa.list_(pa.int64()),
}


def arrow_rows(content: bytes, inputs: Schema, limits: RequestLimits) -> pa.Table:
    """The rows as int64, float32 and list<int64> columns, in the schema's order.

    Raises:
        RefusedError: 400 where it is no valid IPC stream, 413 for too many rows, 422 for a wrong name, type or value.
    """
    check_messages(content, limits)
    try:
        with pa.ipc.open_stream(pa.py_buffer(content)) as reader:
            check_names(reader.schema.names, [feature.name for feature in inputs.features], "")
            for feature in inputs.features:
                _check_type(feature, reader.schema.field(feature.name))
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise RefusedError(400, f"body: not a valid Arrow IPC stream: {error}") from error
    return pa.table({feature.name: _column(feature, table[feature.name]) for feature in inputs.features})


def _check_type(feature: Feature, field: pa.Field) -> None:
    """Raises RefusedError: 422, a type of which some value could not be cast, or that says more than its storage."""
    fields, kind = [field], field.type
    if feature.kind == "sequence" and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        fields.append(kind.value_field)
        is_plain = pa.types.is_integer(kind.value_type)
    elif feature.kind == "numeric":
        is_plain = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    else:
        is_plain = feature.kind == "categorical" and pa.types.is_integer(kind)
    if not is_plain:
        raise _refused(feature, f"found {str(kind)[:SHOWN_CHARACTERS]}")
    if any(EXTENSION in (each.metadata or {}) for each in fields):
        raise _refused(feature, "found an extension type")


def _column(feature: Feature, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Raises RefusedError: 422, a null, or a value that the column's type cannot hold."""
    nulls = column.null_count
    if feature.kind == "sequence":
        nulls += sum(chunk.flatten().null_count for chunk in column.chunks)
    if nulls:
        raise _refused(feature, f"found {nulls} nulls")
    try:
        return column.cast(TYPES[feature.kind])
    except pa.ArrowInvalid as error:
        raise _refused(feature, str(error)) from error


def _refused(feature: Feature, what: str) -> RefusedError:
    allowed = f"{TYPES[feature.kind]} without nulls, or what casts to it safely"
    return RefusedError(422, f"{feature.name}: {what}; allowed: {allowed}")
