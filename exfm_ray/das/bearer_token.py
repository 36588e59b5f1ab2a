"""The token that a client must show."""

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN_PATH = "/healthz"


def token_digest(token: str) -> bytes:
    """What the door is given, so that the token itself lies nowhere in the cluster."""
    return hashlib.sha256(token.encode()).digest()


class BearerToken:
    """Turns away every request without the token, before anything of it but its headers is read.

    Args:
        digest: `token_digest` of the one that is let in.
    """

    def __init__(self, app: ASGIApp, digest: bytes) -> None:
        self._app, self._digest = app, digest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] == OPEN_PATH or self._is_let_in(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        detail = "authorization: found no valid token; send the header 'Authorization: Bearer TOKEN'"
        refusal = JSONResponse({"detail": detail}, status_code=401, headers={"WWW-Authenticate": "Bearer"})
        await refusal(scope, receive, send)

    def _is_let_in(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token_digest(token.strip()), self._digest)
