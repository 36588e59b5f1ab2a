"""What the door offers, as an OpenAPI 3.1 document."""

from typing import Any

from exfm_ray.das.request_limits import RequestLimits
from exfm_ray.das.request_rows import ARROW, JSON
from exfm_ray.schema import Feature, Schema, supervision_column

SNAPSHOT_HEADER = "x-exfm-snapshot"
"""which snapshot answered: `<model>/day=NNN`"""

REASON = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
PROBLEMS = {
    "400": "the body is not JSON, or not an Arrow IPC stream",
    "413": "more bytes or rows than one request may have",
    "415": "another media type than the two, or a compressed body",
    "422": "a feature that is missing, unknown, of another type, null, not finite, out of range or too long",
    "503": "busy, or no snapshot is loaded yet; try again after as many seconds as `retry-after` says",
}
UNAUTHORIZED = {"401": "the token is missing or wrong"}


def openapi_document(
    inputs: Schema, tasks: tuple[str, ...], limits: RequestLimits, *, asks_token: bool
) -> dict[str, Any]:
    """The document of a door.

    Args:
        inputs: what the FM reads.
        tasks: what it predicts.
        asks_token: whether all but /healthz needs a token.
    """
    paths: dict[str, Any] = {
        "/v1/predict": {"post": _predict(inputs, tasks, limits)},
        "/v1/snapshot": {"get": _snapshot(inputs, tasks)},
        "/openapi.json": {"get": _plain("This document", "application/json")},
        "/docs": {"get": _plain("This document as a page", "text/html")},
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "exfm_ray", "version": "1", "description": "The newest snapshot of a run's FM answers."},
        "paths": paths,
    }
    if asks_token:
        document["components"] = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
        document["security"] = [{"token": []}]
        for operations in paths.values():
            for operation in operations.values():
                operation["responses"] |= _problems(UNAUTHORIZED)
    paths["/healthz"] = {"get": _plain("Whether the door is open", "application/json") | {"security": []}}
    return document


def _predict(inputs: Schema, tasks: tuple[str, ...], limits: RequestLimits) -> dict[str, Any]:
    row = {
        "type": "object",
        "additionalProperties": False,
        "required": [feature.name for feature in inputs.features],
        "properties": {feature.name: _value(feature, inputs, limits) for feature in inputs.features},
    }
    rows = {"type": "array", "minItems": 1, "maxItems": limits.rows, "items": row}
    example = {feature.name: _example(feature) for feature in inputs.features}
    columns = ", ".join(f"{name} {kind}" for name, kind in _columns(inputs).items())
    return {
        "summary": "A probability per row and task",
        "description": f"At most {limits.body_bytes} bytes and {limits.rows} rows; answered in the same media type.",
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "schema": {"type": "object", "required": ["rows"], "properties": {"rows": rows}},
                    "example": {"rows": [example]},
                },
                ARROW: {
                    "schema": {
                        "description": f"one IPC stream, no compression, no dictionaries; columns {columns}",
                        "type": "string",
                        "contentEncoding": "binary",
                    }
                },
            },
        },
        "responses": {"200": _answer(tasks)} | _problems(PROBLEMS),
    }


def _answer(tasks: tuple[str, ...]) -> dict[str, Any]:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    prediction = {"type": "object", "required": [*tasks], "properties": dict.fromkeys(tasks, probability)}
    body = {
        "type": "object",
        "required": ["snapshot", "predictions"],
        "properties": {"snapshot": {"type": "string"}, "predictions": {"type": "array", "items": prediction}},
    }
    columns = ", ".join(f"{supervision_column(task)} float" for task in tasks)
    stream = {"description": f"one IPC stream; columns {columns}", "type": "string", "contentEncoding": "binary"}
    return {
        "description": "in the order of the rows",
        "headers": {SNAPSHOT_HEADER: {"description": "the snapshot that answered", "schema": {"type": "string"}}},
        "content": {JSON: {"schema": body}, ARROW: {"schema": stream}},
    }


def _snapshot(inputs: Schema, tasks: tuple[str, ...]) -> dict[str, Any]:
    properties = {
        "snapshot": {"type": "string"},
        "snapshot_day": {"type": "integer", "description": "the day through which it is trained"},
        "inputs": {"type": "object", "description": f"features: {', '.join(f.name for f in inputs.features)}"},
        "tasks": {"type": "array", "items": {"enum": [*tasks]}},
    }
    body = {"type": "object", "required": [*properties], "properties": properties}
    answer = {"description": "what answers now", "content": {JSON: {"schema": body}}}
    return {
        "summary": "What answers now, its day, the features that it reads and the tasks that it predicts",
        "responses": {"200": answer} | _problems({"503": PROBLEMS["503"]}),
    }


def _plain(summary: str, media_type: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": "always", "content": {media_type: {}}}}}


def _problems(reasons: dict[str, str]) -> dict[str, Any]:
    content = {JSON: {"schema": REASON}}
    return {status: {"description": reason, "content": content} for status, reason in reasons.items()}


def _columns(inputs: Schema) -> dict[str, str]:
    types = {"categorical": "int64", "numeric": "float", "sequence": "list<int64>"}
    return {feature.name: types[feature.kind] for feature in inputs.features}


def _value(feature: Feature, inputs: Schema, limits: RequestLimits) -> dict[str, Any]:
    """JSON schema of a feature's value."""
    if feature.kind == "numeric":
        return {"type": "number"}
    if feature.kind == "sequence":
        shared = next(table for table in inputs.features if table.name == feature.shares)
        return {"type": "array", "maxItems": limits.history, "items": _value(shared, inputs, limits)}
    if feature.encoding == "identity":
        return {"type": "integer", "minimum": 0, "maximum": feature.rows - 1}
    return {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}


def _example(feature: Feature) -> Any:
    return {"categorical": 0, "numeric": 0.5, "sequence": [0]}[feature.kind]
