"""The door over HTTP, with the real FM behind it in this process."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError
from starlette.types import ASGIApp

from exfm_ray.config import DasConfig
from exfm_ray.das.batching import BusyError, UnfitRowsError
from exfm_ray.das.bearer_token import token_digest
from exfm_ray.das.deployment import FoundationModel
from exfm_ray.das.door import REQUESTS_AT_ONCE, door
from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.expected import Expected
from exfm_ray.das.pointer import point_to
from exfm_ray.das.predictor import Predictor
from exfm_ray.das.request_limits import RequestLimits
from exfm_ray.das.request_rows import ARROW, JSON
from exfm_ray.das.wire import from_bytes, to_bytes
from exfm_ray.schema import Schema
from tests.das.door_rows import arrow_values, database_at, json_values, publish

LIMITS = RequestLimits(body_bytes=20_000, rows=50)
TOKEN = "a-token"
FAR = 10.0**10
"""a time after all leases"""


def model_at(root: Path, schema: Schema, name: str, patience: float) -> Any:
    """Handle of a replica in this process."""
    das = DasConfig(poll_seconds=0.05, swap_timeout_seconds=patience).model_dump(mode="json")
    deployment: Any = serve.deployment(FoundationModel, name="FoundationModel", ray_actor_options={"num_cpus": 1})
    application = deployment.bind(
        database_at(root).root.uri, str(root / "pointer"), das, Expected.of(schema, schema.tasks), False
    )
    return serve.run(application, name=name, route_prefix=None, _local_testing_mode=True)


@pytest.fixture(scope="module")
def root(small_schema: Schema, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    for day in (1, 2):
        publish(database_at(root), small_schema, day)
    point_to(EmbeddedPointer(str(root / "pointer")), 1, FAR, 60)
    return root


@pytest.fixture(scope="module")
def model(root: Path, small_schema: Schema) -> Any:
    return model_at(root, small_schema, "door", patience=60)


class Client:
    """Asks the application without a socket between."""

    def __init__(self, application: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(application, raise_app_exceptions=False)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://door") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


def client_of(model: Any, schema: Schema, token: str | None = None) -> Client:
    return Client(door(model, schema, schema.tasks, LIMITS, token_digest(token) if token else None))


@pytest.fixture
def client(model: Any, small_schema: Schema) -> Client:
    return client_of(model, small_schema)


def post(client: Client, body: Any, media_type: str = JSON, **headers: str) -> httpx.Response:
    return client.post("/v1/predict", content=body, headers={"content-type": media_type, **headers})


def rows_json(count: int) -> bytes:
    return json.dumps({"rows": json_values(count)}).encode()


def test_json_and_arrow_get_the_prediction_of_the_snapshot(client: Client, root: Path) -> None:
    expected = Predictor.load(database_at(root), 1).predict(arrow_values(20))
    plain = post(client, rows_json(20), "application/json; charset=utf-8")
    assert plain.status_code == 200
    assert plain.headers["x-exfm-snapshot"] == plain.json()["snapshot"] == "fm/day=001"
    assert plain.json()["predictions"] == expected.rename_columns(["click", "like"]).to_pylist()
    packed = post(client, to_bytes(arrow_values(20)), ARROW)
    assert packed.status_code == 200
    assert packed.headers["x-exfm-snapshot"] == "fm/day=001"
    assert packed.headers["content-type"] == ARROW
    assert from_bytes(packed.content).equals(expected)


def test_the_newest_snapshot_answers_once_it_is_loaded(small_schema: Schema, tmp_path: Path) -> None:
    publish(database_at(tmp_path), small_schema, 1)
    pointer = EmbeddedPointer(str(tmp_path / "pointer"))
    client = client_of(model_at(tmp_path, small_schema, "swapped", patience=0.2), small_schema)
    for path in ("/v1/snapshot", "/v1/predict"):
        empty = client.get(path) if path == "/v1/snapshot" else post(client, rows_json(1))
        assert (empty.status_code, empty.headers["retry-after"]) == (503, "1")
        assert empty.json() == {"detail": "no snapshot is loaded yet; try again"}
    point_to(pointer, 1, FAR, 60)
    while (first := client.get("/v1/snapshot")).status_code == 503:
        pass
    assert (first.json()["snapshot"], first.json()["snapshot_day"]) == ("fm/day=001", 1)
    publish(database_at(tmp_path), small_schema, 2)
    point_to(pointer, 2, FAR, 60)
    while post(client, rows_json(1)).json()["snapshot"] == "fm/day=001":
        pass
    second = post(client, rows_json(3)).json()
    expected = Predictor.load(database_at(tmp_path), 2).predict(arrow_values(3))
    assert second["snapshot"] == "fm/day=002"
    assert [line["like"] for line in second["predictions"]] == expected["fm_like"].to_pylist()


def test_the_snapshot_is_described(client: Client, small_schema: Schema) -> None:
    found = client.get("/v1/snapshot").json()
    assert Schema.model_validate(found.pop("inputs")) == small_schema
    assert found == {"snapshot": "fm/day=001", "snapshot_day": 1, "tasks": ["click", "like"]}


def test_a_wrong_body_is_refused_with_its_reason(client: Client) -> None:
    for body, media_type, status, detail in (
        (b"{", JSON, 400, "body: not JSON: "),
        (b"{}", ARROW, 400, "body: not an Arrow IPC stream: "),
        (rows_json(1).replace(b'"hour": 0', b'"hour": 24'), JSON, 422, "rows[0].hour: found 24; allowed: 0 to 23"),
        (to_bytes(arrow_values(2).drop_columns(["user"])), ARROW, 422, "user: missing; "),
        (rows_json(51), JSON, 413, "rows: found 51; at most 50 are allowed per request"),
        (to_bytes(arrow_values(51)), ARROW, 413, "rows: found 51; at most 50 are allowed per request"),
        (rows_json(1), "text/csv", 415, "content-type: found 'text/csv'; allowed: application/json or "),
        (rows_json(1), "", 415, "content-type: found ''; allowed: "),
    ):
        told = post(client, body, media_type)
        assert (told.status_code, list(told.json())) == (status, ["detail"])
        assert told.json()["detail"].startswith(detail)


def test_a_packed_body_is_refused(client: Client) -> None:
    told = post(client, rows_json(1), **{"content-encoding": "gzip"})
    assert (told.status_code, told.json()["detail"]) == (
        415, "content-encoding: found 'gzip'; send the body uncompressed",
    )  # fmt: skip


def test_a_body_that_says_it_is_too_long_is_not_read(model: Any, small_schema: Schema) -> None:
    """Through ASGI itself, where it shows whether the body was asked for."""
    application = door(model, small_schema, small_schema.tasks, LIMITS, None)
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", JSON.encode()), (b"content-length", b"20001")]
    scope = {
        "type": "http", "method": "POST", "path": "/v1/predict", "headers": headers, "query_string": b"",
        "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
    }  # fmt: skip
    asyncio.run(application(scope, receive, send))
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["detail"] == "body: more than 20000 bytes; send fewer rows per request"


def test_a_body_of_unknown_length_is_counted_and_left_unread(client: Client) -> None:
    read: list[bytes] = []

    async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            read.append(body[start : start + size])
            yield read[-1]

    told = post(client, pieces(b" " * 100_000, 1_000))
    assert (told.status_code, told.json()["detail"]) == (
        413, "body: more than 20000 bytes; send fewer rows per request",
    )  # fmt: skip
    assert len(read) <= 22
    assert post(client, pieces(rows_json(3), 50)).status_code == 200


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 4_301, "²"])
def test_a_length_that_is_none_is_refused(client: Client, length: str) -> None:
    headers = [(b"content-type", JSON.encode()), (b"content-length", length.encode("latin-1"))]
    told = client.post("/v1/predict", content=b"", headers=headers)
    assert told.status_code == (413 if length.isdigit() and length.isascii() else 400)


def test_other_paths_and_methods_are_told(client: Client) -> None:
    lost = client.get("/v1/models")
    assert (lost.status_code, lost.json()) == (
        404, {"detail": "GET /v1/models: Not Found; see /docs for the paths that there are"},
    )  # fmt: skip
    wrong = client.get("/v1/predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json() == {"detail": "GET /v1/predict: Method Not Allowed; allowed: POST"}
    assert client.post("/v1/predict/", content=b"").status_code == 404


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/snapshot", "/openapi.json", "/docs", "/nowhere"])
def test_everything_but_healthz_asks_for_the_token(model: Any, small_schema: Schema, path: str) -> None:
    client = client_of(model, small_schema, TOKEN)
    method = "POST" if path == "/v1/predict" else "GET"
    for header in (None, "", "Bearer", "Bearer a-toke", "Bearer a-tokens", f"Basic {TOKEN}", TOKEN, "Bearer \xff"):
        headers = {} if header is None else {"authorization": header.encode("latin-1")}
        told = client.request(method, path, headers=headers)
        assert (told.status_code, told.headers["www-authenticate"]) == (401, "Bearer")
        assert TOKEN not in told.text
    for scheme in ("Bearer", "bearer"):
        told = client.request(method, path, headers={"authorization": f"{scheme} {TOKEN}"})
        assert told.status_code == {"/v1/predict": 415, "/nowhere": 404}.get(path, 200)
    assert client.get("/healthz").json() == {"status": "ok"}


def test_the_door_knows_only_the_digest_of_its_token() -> None:
    assert token_digest(TOKEN) == hashlib.sha256(TOKEN.encode()).digest()


class Asked:
    """A handle whose FM ends every request in the same way."""

    def __init__(self, error: Exception | None, until: asyncio.Event | None = None) -> None:
        self._error, self._until = error, until
        self.predict = self.describe = self

    async def remote(self, *_: Any) -> tuple[str, bytes]:
        if self._until is not None:
            await self._until.wait()
        if self._error is not None:
            raise self._error
        return "fm/day=001", to_bytes(arrow_values(1).select([]))


@pytest.mark.parametrize("error", [BackPressureError(3, 2), RayActorError(), BusyError("full")])
def test_a_busy_fm_is_told_with_a_time_to_try_again(small_schema: Schema, error: Exception) -> None:
    told = post(client_of(Asked(error), small_schema), rows_json(1))
    assert (told.status_code, told.headers["retry-after"]) == (503, "1")
    assert told.json() == {"detail": "busy: the FM has no room just now; try again"}


def test_rows_that_only_the_snapshot_can_refuse_are_told(small_schema: Schema) -> None:
    told = post(client_of(Asked(UnfitRowsError("these rows do not fit fm/day=001: why")), small_schema), rows_json(1))
    assert (told.status_code, told.json()) == (422, {"detail": "these rows do not fit fm/day=001: why"})


def test_a_failure_of_ours_tells_nothing_of_the_inside(small_schema: Schema, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/v1/predict", "/v1/snapshot"):
        client = client_of(Asked(RuntimeError("/etc/secret is odd")), small_schema)
        told = post(client, rows_json(1)) if path == "/v1/predict" else client.get(path)
        assert told.status_code == 500
        assert told.json() == {"detail": "internal error; the server's log has the reason"}
        assert "/etc/secret is odd" in caplog.text
        caplog.clear()


def test_no_more_bodies_are_held_than_there_is_room_for(small_schema: Schema) -> None:
    async def crowd() -> list[int]:
        opened = asyncio.Event()
        application = door(Asked(None, opened), small_schema, (), LIMITS, None)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://door") as client:

            async def ask() -> int:
                sent = await client.post("/v1/predict", content=rows_json(1), headers={"content-type": JSON})
                return sent.status_code

            inside = [asyncio.create_task(ask()) for _ in range(REQUESTS_AT_ONCE)]
            await asyncio.sleep(0)
            while (turned_away := await ask()) != 503:
                pass
            opened.set()
            return [turned_away, *await asyncio.gather(*inside), await ask()]

    assert asyncio.run(crowd()) == [503, *[200] * REQUESTS_AT_ONCE, 200]


def test_the_document_names_every_path_and_its_example_works(client: Client, small_schema: Schema) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/v1/predict", "/v1/snapshot", "/healthz", "/openapi.json", "/docs"}
    body = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"][JSON]
    row = body["schema"]["properties"]["rows"]["items"]
    assert row["required"] == list(row["properties"]) == [feature.name for feature in small_schema.features]
    assert row["properties"]["hour"] == {"type": "integer", "minimum": 0, "maximum": 23}
    answer = post(client, json.dumps(body["example"]))
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 1
    assert "security" not in document


def test_the_page_needs_nothing_from_elsewhere(model: Any, small_schema: Schema) -> None:
    client = client_of(model, small_schema, TOKEN)
    page = client.get("/docs", headers={"authorization": f"Bearer {TOKEN}"}).text
    assert "<script" not in page
    assert "@import" not in page
    assert set(re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')>\s]+)""", page)) == {"/openapi.json"}
    examples = [unescape(found) for found in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    assert len(examples) == 6
    assert all(example.startswith("curl ") and "http://door/" in example for example in examples)
    assert [("$EXFM_TOKEN" in example) for example in examples] == [True] * 5 + [False]


def test_the_page_shows_a_hostile_address_as_text(client: Client) -> None:
    page = client.get("/docs", headers={"host": "a<script>alert(1)</script>"}).text
    assert "<script" not in page
