"""A body's limit in the proxy, before an application that reads ahead as Serve's proxy does."""

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from exfm_ray.das.proxy_limit import BodyLimit, proxy_environment, proxy_middlewares
from exfm_ray.das.request_limits import RequestLimits

LIMITS = RequestLimits(body_bytes=2_000)
PIECE = b"x" * 500


class ReadsAhead:
    """Keeps all that it is sent until the end or a disconnect, then answers 200."""

    def __init__(self, answers_after: int | None = None) -> None:
        self.kept: list[bytes] = []
        self.ended: str | None = None
        self._answers_after = answers_after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while self.ended is None:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ended = "disconnected"
                break
            self.kept.append(message["body"])
            if len(self.kept) == self._answers_after:
                await send({"type": "http.response.start", "status": 401, "headers": []})
            if not message["more_body"]:
                self.ended = "whole"
        await send({"type": "http.response.start", "status": 200, "headers": []})


def statuses(application: ReadsAhead, pieces: int, length: int | None = None) -> tuple[list[int], int]:
    """Statuses that a client sees, and how many pieces of its body were taken from it."""
    sent: list[Any] = []
    taken = 0

    async def receive() -> Any:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": PIECE, "more_body": taken < pieces}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": headers}
    asyncio.run(BodyLimit(application, LIMITS)(scope, receive, send))
    return [message["status"] for message in sent if message["type"] == "http.response.start"], taken


def test_a_body_within_the_limit_passes() -> None:
    application = ReadsAhead()
    assert statuses(application, pieces=4, length=2_000) == ([200], 4)
    assert application.kept == [PIECE] * 4


def test_a_body_that_says_it_is_too_long_never_arrives() -> None:
    application = ReadsAhead()
    assert statuses(application, pieces=5, length=2_001) == ([413], 0)
    assert application.kept == []


def test_a_body_of_unknown_length_ends_at_the_limit() -> None:
    application = ReadsAhead()
    assert statuses(application, pieces=1_000_000) == ([413], 5)
    assert (application.kept, application.ended) == ([PIECE] * 4, "disconnected")


def test_an_answer_that_has_begun_is_the_only_one() -> None:
    assert statuses(ReadsAhead(answers_after=2), pieces=1_000_000)[0][0] == 401
    assert 413 not in statuses(ReadsAhead(answers_after=2), pieces=1_000_000)[0]


def test_the_proxy_gets_the_limit_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in proxy_environment(LIMITS).items():
        monkeypatch.setenv(name, value)
    (middleware,) = proxy_middlewares()
    assert middleware.cls is BodyLimit
    assert middleware.kwargs["limits"].body_bytes == 2_000
