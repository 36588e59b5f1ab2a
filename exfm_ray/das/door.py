"""The door: the FM over HTTP, for clients outside of Ray."""

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import FastAPI
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp

from exfm_ray.das.batching import BusyError, UnfitRowsError
from exfm_ray.das.bearer_token import BearerToken
from exfm_ray.das.door_page import door_page
from exfm_ray.das.openapi import SNAPSHOT_HEADER, openapi_document
from exfm_ray.das.refusal import RefusedError
from exfm_ray.das.request_limits import RequestLimits
from exfm_ray.das.request_rows import JSON, READERS, request_rows
from exfm_ray.das.wire import from_bytes, to_bytes
from exfm_ray.errors import DataError
from exfm_ray.schema import Schema, supervision_column

logger = logging.getLogger(__name__)
Value = TypeVar("Value")

REQUESTS_AT_ONCE = 32
"""whose bodies are held; more are turned away by their headers"""
RETRY = {"Retry-After": "1"}


def door(
    model: DeploymentHandle[Any],
    inputs: Schema,
    tasks: tuple[str, ...],
    limits: RequestLimits,
    digest: bytes | None,
) -> ASGIApp:
    """The application that answers HTTP.

    Args:
        model: a `FoundationModel`.
        inputs: the features that every snapshot of it reads.
        tasks: what they predict.
        digest: `token_digest` of the token that clients must show; None lets everyone in.
    """
    document = openapi_document(inputs, tasks, limits, asks_token=digest is not None)
    desk = _Desk(model, inputs, tasks, limits)

    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    async def openapi() -> Response:
        return JSONResponse(document)

    async def docs(request: Request) -> Response:
        return HTMLResponse(door_page(document, str(request.base_url).rstrip("/")))

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_api_route("/v1/predict", desk.predict, methods=["POST"])
    app.add_api_route("/v1/snapshot", desk.snapshot, methods=["GET"])
    app.add_api_route("/openapi.json", openapi, methods=["GET"])
    app.add_api_route("/docs", docs, methods=["GET"])
    app.add_api_route("/healthz", healthz, methods=["GET"])
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _misdirected)
    app.add_exception_handler(Exception, _failed)
    if digest is not None:
        app.add_middleware(BearerToken, digest=digest)
    return app


class _Desk:
    """Takes rows in, has them predicted, hands the answer out."""

    def __init__(
        self, model: DeploymentHandle[Any], inputs: Schema, tasks: tuple[str, ...], limits: RequestLimits
    ) -> None:
        self._model, self._inputs, self._tasks, self._limits = model, inputs, tasks, limits
        self._under_way = 0
        # one body at a time is unpacked, since JSON grows many times over; meanwhile others are turned away at once
        self._unpacking = ThreadPoolExecutor(max_workers=1, thread_name_prefix="unpack")

    async def predict(self, request: Request) -> Response:
        media_type = _media_type(request)
        self._check_length(request)
        if self._under_way >= REQUESTS_AT_ONCE:
            raise RefusedError(503, f"busy: {REQUESTS_AT_ONCE} requests are under way; try again", RETRY)
        self._under_way += 1
        try:
            body = await self._body(request)
            rows = await self._apart(lambda: to_bytes(request_rows(media_type, body, self._inputs, self._limits)))
            snapshot, answer = await _asked(self._model.predict.remote(rows, None))
            content = answer if media_type != JSON else await self._apart(lambda: self._as_json(snapshot, answer))
            return Response(content, media_type=media_type, headers={SNAPSHOT_HEADER: snapshot})
        finally:
            self._under_way -= 1

    async def snapshot(self) -> Response:
        return JSONResponse(await _asked(self._model.describe.remote()))

    def _check_length(self, request: Request) -> None:
        """By what the client says, before anything is read; what it does not say is counted while reading."""
        length = request.headers.get("content-length", "0")
        if not length.isdecimal():
            raise RefusedError(400, "content-length: not a number of bytes")
        self._limits.check_bytes(int(length[:20]))

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            self._limits.check_bytes(len(body))
        return bytes(body)

    async def _apart(self, work: Callable[[], Value]) -> Value:
        return await asyncio.get_running_loop().run_in_executor(self._unpacking, work)

    def _as_json(self, snapshot: str, answer: bytes) -> bytes:
        columns = from_bytes(answer).select([supervision_column(task) for task in self._tasks])
        predictions = columns.rename_columns([*self._tasks]).to_pylist()
        return json.dumps({"snapshot": snapshot, "predictions": predictions}, allow_nan=False).encode()


async def _asked(response: Any) -> Any:
    """The FM's answer.

    Raises:
        RefusedError: 422, the rows do not fit the snapshot; 503, it cannot answer just now.
    """
    try:
        return await response
    except UnfitRowsError as error:  # such as a value beyond its table, which the types do not tell
        raise RefusedError(422, str(error.cause if isinstance(error, RayTaskError) else error)) from error
    except DataError as error:
        raise RefusedError(503, "no snapshot is loaded yet; try again", RETRY) from error
    except Exception as error:
        if not _is_passing(error):
            raise
        raise RefusedError(503, "busy: the FM has no room just now; try again", RETRY) from error


def _is_passing(error: Exception) -> bool:
    """Whether the same request may be answered a moment later."""
    return isinstance(error, BusyError | BackPressureError | DeploymentUnavailableError | RayActorError)


def _media_type(request: Request) -> str:
    if (encoding := request.headers.get("content-encoding", "identity").lower()) != "identity":
        raise RefusedError(415, f"content-encoding: found {encoding!r}; send the body uncompressed")
    found = request.headers.get("content-type", "")
    media_type = found.partition(";")[0].strip().lower()
    if media_type not in READERS:
        raise RefusedError(415, f"content-type: found {found!r}; allowed: {' or '.join(READERS)}")
    return media_type


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"detail": error.detail}, status_code=error.status, headers=error.headers)


async def _misdirected(request: Request, error: Exception) -> Response:
    """No such path, or no such method on it."""
    assert isinstance(error, HTTPException)
    allowed = error.headers.get("Allow") if error.headers else None
    what = f"allowed: {allowed}" if allowed else "see /docs for the paths that there are"
    detail = f"{request.method} {request.url.path[:200]}: {error.detail}; {what}"
    return JSONResponse({"detail": detail}, status_code=error.status_code, headers=error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    logger.error("a request failed", exc_info=error)
    return JSONResponse({"detail": "internal error; the server's log has the reason"}, status_code=500)
