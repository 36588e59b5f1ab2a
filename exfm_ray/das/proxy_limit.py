"""The limit of a body, held already in Serve's proxy.

The proxy passes a request on while it is still reading it, and reads as fast as the client sends: what the door has not
yet turned away lies in the proxy's memory. Of a body whose length is not said before, that may be far more than the
door would take.
"""

import os

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exfm_ray.das.refusal import RefusedError
from exfm_ray.das.request_limits import RequestLimits

BODY_BYTES_VARIABLE = "EXFM_BODY_BYTES"


def proxy_environment(limits: RequestLimits) -> dict[str, str]:
    """Environment of a cluster whose proxies shall hold the limit; it must be set before the cluster is started."""
    return {
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{__name__}.{proxy_middlewares.__name__}",
        BODY_BYTES_VARIABLE: str(limits.body_bytes),
    }


def proxy_middlewares() -> list[Middleware]:
    """What a proxy puts before everything else; Serve calls it there."""
    limits = RequestLimits.model_validate({"body_bytes": os.environ[BODY_BYTES_VARIABLE]})
    return [Middleware(BodyLimit, limits=limits)]


class BodyLimit:
    """Ends a request as soon as its body is known to be too long; what comes after that is not kept."""

    def __init__(self, app: ASGIApp, limits: RequestLimits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(int(Headers(scope=scope).get("content-length", "0")))
        read, has_answered = 0, False

        async def counted() -> Message:
            nonlocal read, refusal
            message = await receive()
            read += len(message.get("body", b""))
            refusal = self._refusal(read)
            return message if refusal is None else {"type": "http.disconnect"}

        async def answering(message: Message) -> None:
            nonlocal has_answered
            if refusal is None or has_answered:
                has_answered = True
                await send(message)

        if refusal is None:
            await self._app(scope, counted, answering)
        if refusal is not None and not has_answered:
            await refusal(scope, receive, send)

    def _refusal(self, length: int) -> JSONResponse | None:
        try:
            self._limits.check_bytes(length)
        except RefusedError as error:
            return JSONResponse({"detail": error.detail}, status_code=error.status)
        return None
