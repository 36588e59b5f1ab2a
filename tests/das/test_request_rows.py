"""Rows from outside: what the FM can read gets in, everything else is told why not."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from exfm_ray.das.refusal import RefusedError
from exfm_ray.das.request_limits import RequestLimits
from exfm_ray.das.request_rows import ARROW, JSON, request_rows
from exfm_ray.das.wire import to_bytes
from exfm_ray.schema import Schema
from tests.das.door_rows import arrow_values, json_values

LIMITS = RequestLimits(rows=100, history=8)


def refused(media_type: str, body: bytes, schema: Schema) -> str:
    """`<status> <detail>` of a body that must not get in."""
    with pytest.raises(RefusedError) as refusal:
        request_rows(media_type, body, schema, LIMITS)
    return f"{refusal.value.status} {refusal.value.detail}"


def as_json(rows: Any) -> bytes:
    return json.dumps({"rows": rows}).encode()


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def test_json_and_arrow_give_the_same_columns(small_schema: Schema) -> None:
    from_json = request_rows(JSON, as_json(json_values(7)), small_schema, LIMITS)
    from_arrow = request_rows(ARROW, to_bytes(arrow_values(7)), small_schema, LIMITS)
    assert from_json.equals(from_arrow)
    assert from_json.select(arrow_values(7).column_names).equals(arrow_values(7))


def test_the_order_of_keys_and_columns_does_not_matter(small_schema: Schema) -> None:
    turned = [dict(reversed(row.items())) for row in json_values(3)]
    table = arrow_values(3)
    expected = request_rows(JSON, as_json(json_values(3)), small_schema, LIMITS)
    assert request_rows(JSON, as_json(turned), small_schema, LIMITS).equals(expected)
    backwards = table.select(table.column_names[::-1])
    assert request_rows(ARROW, to_bytes(backwards), small_schema, LIMITS).equals(expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "400 body: not JSON: EOF while parsing"),
        (b'{"rows": [', "400 body: not JSON: EOF while parsing"),
        (b'\xff{"rows": []}', "400 body: not JSON: expected value"),
        (b"[" * 100_000, "400 body: not JSON: recursion limit exceeded"),
        (b'{"rows": [' + b"9" * 10_000 + b"]}", "400 body: not JSON: number out of range"),
        (b"[]", "422 body: found a list of 0; allowed: {"),
        (b"{}", "422 body: rows: missing"),
        (b'{"rows": [], "snapshot": 3}', '422 body: "snapshot": unknown'),
        (b'{"rows": {}}', "422 rows: found an object; allowed: a list of objects"),
        (b'{"rows": []}', "422 rows: found none; give from 1 to 100"),
        (b'{"rows": [3]}', "422 rows[0]: found 3; allowed: an object with a value per feature"),
        (as_json([{}] * 101), "413 rows: found 101; at most 100 are allowed per request"),
    ],
)
def test_json_of_another_shape_is_refused(small_schema: Schema, body: bytes, expected: str) -> None:
    assert refused(JSON, body, small_schema).startswith(expected)


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        ("user", 2**63, f"found {2**63}; allowed: an integer from {-(2**63)} to {2**63 - 1}"),
        ("user", -(2**63) - 1, f"found {-(2**63) - 1}; allowed: an integer from"),
        ("user", 1.0, "found 1.0; allowed: an integer from"),
        ("user", True, "found true; allowed: an integer from"),
        ("user", "7", 'found "7"; allowed: an integer from'),
        ("user", "x" * 1_000, 'found "' + "x" * 58 + "…; allowed: an integer from"),
        ("user", None, "found null; allowed: an integer from"),
        ("hour", 24, "found 24; allowed: 0 to 23"),
        ("hour", -1, "found -1; allowed: 0 to 23"),
        ("price", float("nan"), "found nan; allowed: a finite number"),
        ("price", float("-inf"), "found -inf; allowed: a finite number"),
        ("price", 1e39, "found inf; allowed: a finite number that float32 can hold"),
        ("price", 10**400, "found inf; allowed: a finite number that float32 can hold"),
        ("price", "cheap", 'found "cheap"; allowed: a number'),
        ("price", False, "found false; allowed: a number"),
        ("price", None, "found null; allowed: a number"),
        ("history", 3, "found 3; allowed: a list of integers"),
        ("history", None, "found null; allowed: a list of integers"),
        ("history", [0] * 9, "found 9 values; at most 8 are allowed"),
    ],
)
def test_a_wrong_json_value_is_told_by_row_and_feature(
    small_schema: Schema, feature: str, value: Any, expected: str
) -> None:
    rows = json_values(5)
    rows[3][feature] = value
    assert refused(JSON, as_json(rows), small_schema).startswith(f"422 rows[3].{feature}: {expected}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [([1, None], "rows[3].history[1]: found null"), ([2**63], f"rows[3].history[0]: found {2**63}; allowed: an")],
)
def test_a_wrong_value_in_a_history_is_told_by_its_place(small_schema: Schema, value: Any, expected: str) -> None:
    rows = json_values(5)
    rows[3]["history"] = value
    assert refused(JSON, as_json(rows), small_schema).startswith(f"422 {expected}")


def test_a_number_that_overflows_only_in_json_text_is_refused(small_schema: Schema) -> None:
    body = as_json(json_values(1)).replace(b'"costly": 0', b'"costly": 1e999')
    assert refused(JSON, body, small_schema).startswith("422 rows[0].costly: found inf")


def test_names_of_json_rows_are_checked_in_every_row(small_schema: Schema) -> None:
    rows = json_values(3)
    del rows[2]["hour"]
    names = "user, item, hour, price, history, costly"
    assert (
        refused(JSON, as_json(rows), small_schema) == f"422 rows[2].hour: missing; every row has each of {names} once"
    )
    rows = json_values(3)
    rows[1]["label_click"] = 1
    assert refused(JSON, as_json(rows), small_schema) == f'422 rows[1]."label_click": unknown; the features are {names}'


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_batches_are_refused_while_they_are_packed(small_schema: Schema, compression: str) -> None:
    body = stream(arrow_values(50), compression=compression)
    assert refused(ARROW, body, small_schema) == (
        "422 body: found a compressed record batch; allowed: batches without compression"
    )


def test_a_small_compressed_body_of_many_values_is_not_unpacked(small_schema: Schema) -> None:
    bomb = arrow_values(1)
    column = bomb.schema.get_field_index("history")
    bomb = bomb.set_column(column, bomb.schema.field(column), pa.array([[0] * 5_000_000], pa.list_(pa.int64())))
    body = stream(bomb, compression="zstd")
    assert len(body) < 1_000_000
    usual, watched = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(watched)
    try:
        assert "compressed" in refused(ARROW, body, small_schema)
    finally:
        pa.set_memory_pool(usual)
    assert watched.max_memory() < 1_000_000  # 40 MB when unpacked


def test_batches_in_the_format_that_hides_its_compression_are_refused(small_schema: Schema) -> None:
    body = stream(arrow_values(3), metadata_version=pa.ipc.MetadataVersion.V4)
    assert refused(ARROW, body, small_schema).startswith("422 body: found record batches of an old format")


def test_rows_are_counted_over_all_batches(small_schema: Schema) -> None:
    sink = pa.BufferOutputStream()
    table = arrow_values(60)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
        writer.write_table(table)
    body = bytes(sink.getvalue().to_pybytes())
    assert refused(ARROW, body, small_schema) == "413 rows: found 120; at most 100 are allowed per request"
    both = request_rows(ARROW, body, small_schema, LIMITS.model_copy(update={"rows": 120}))
    assert both["user"].to_pylist() == table["user"].to_pylist() * 2


def test_a_batch_that_claims_another_length_is_refused(small_schema: Schema) -> None:
    body = to_bytes(arrow_values(77))
    length = (77).to_bytes(8, "little")
    for claimed in (76, 78, 99, -(10**9)):
        told = refused(ARROW, body.replace(length, claimed.to_bytes(8, "little", signed=True), 1), small_schema)
        assert told.startswith("400 body: "), claimed


def test_what_is_no_arrow_stream_is_refused(small_schema: Schema) -> None:
    body = to_bytes(arrow_values(5))
    for broken in (
        b"{}",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f",
        body[:300],
        body[: len(body) // 2],
        b"ARROW1\0\0" + body,
    ):
        assert refused(ARROW, broken, small_schema).startswith("400 body: not an Arrow IPC stream: "), broken[:20]
    assert refused(ARROW, b"", small_schema) == "422 rows: found none; give from 1 to 100"
    assert refused(ARROW, to_bytes(arrow_values(0)), small_schema) == "422 rows: found none; give from 1 to 100"


def turned_over(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 0xFF]) + body[place + 1 :]


def emptied(body: bytes, place: int) -> bytes:
    """Two bytes zeroed: among them every slot by which a header says that it has a field."""
    return body[:place] + b"\0\0" + body[place + 2 :]


@pytest.mark.parametrize("damage", [turned_over, emptied])
def test_no_damage_crashes_or_gets_past_the_checks(small_schema: Schema, damage: Callable[[bytes, int], bytes]) -> None:
    """At every place of a stream: a refusal, or rows that pass all checks."""
    body = to_bytes(arrow_values(2))
    names = {feature.name for feature in small_schema.features}
    statuses = set()
    for place in range(len(body)):
        try:
            rows = request_rows(ARROW, damage(body, place), small_schema, LIMITS)
        except RefusedError as refusal:
            statuses.add(refusal.status)
        else:
            assert set(rows.column_names) == names
            rows.validate(full=True)
            statuses.add(200)
    assert statuses >= {200, 400, 422}


def replaced(name: str, values: Any, kind: pa.DataType | None = None, **metadata: str) -> bytes:
    """Three rows, one column of which is another."""
    table = arrow_values(3)
    column = values if isinstance(values, pa.Array) else pa.array(values, kind)
    field = pa.field(name, column.type, metadata=metadata or None)
    return to_bytes(table.set_column(table.schema.get_field_index(name), field, column))


LISTS = pa.list_(pa.int64())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: replaced("user", ["a", "b", "c"]), "user: found string; allowed: int64 without nulls"),
        (lambda: replaced("user", [1.0, 2.0, 3.0]), "user: found double; allowed: int64"),
        (lambda: replaced("user", [True, False, True]), "user: found bool; allowed: int64"),
        (lambda: replaced("user", [b"1", b"2", b"3"]), "user: found binary; allowed: int64"),
        (lambda: replaced("user", [None] * 3), "user: found null; allowed: int64"),
        (lambda: replaced("user", [1, None, 3], pa.int64()), "user: found 1 nulls; allowed: int64 without nulls"),
        (lambda: replaced("user", [1, 2, 2**63], pa.uint64()), f"user: Integer value {2**63} not in range"),
        (lambda: replaced("hour", [1, 2, 24], pa.int8()), "rows[2].hour: found 24; allowed: 0 to 23"),
        (lambda: replaced("price", [1.0, 2.0, 1e39]), "rows[2].price: found inf; allowed: a finite number"),
        (lambda: replaced("price", [1.0, float("nan"), 2.0]), "rows[1].price: found nan; allowed: a finite number"),
        (lambda: replaced("price", [1, 2, 2**24 + 1]), f"price: Integer value {2**24 + 1} not in range"),
        (lambda: replaced("price", [[1.0]] * 3), "price: found list<"),
        (lambda: replaced("history", [1, 2, 3]), "history: found int64; allowed: list<"),
        (lambda: replaced("history", [[0.5]] * 3), "history: found list<"),
        (lambda: replaced("history", [[1], None, [2]], LISTS), "history: found 1 nulls"),
        (lambda: replaced("history", [[1], [None], [2]], LISTS), "history: found 1 nulls"),
        (lambda: replaced("history", [[1], [2] * 9, [3]], LISTS), "rows[1].history: found 9 values; at most 8"),
        (lambda: replaced("history", [[[1]]] * 3), "history: found list<"),
        (lambda: replaced("history", [[1]] * 3, pa.list_view(pa.int64())), "history: found list_view<"),
        (
            lambda: replaced("user", pa.array([1, 2, 3]).dictionary_encode()),
            "body: found a dictionary message; allowed: plain record batches",
        ),
        (
            lambda: replaced("user", [1, 2, 3], pa.int64(), **{"ARROW:extension:name": "unknown.kind"}),
            "user: found an extension type; allowed: int64",
        ),
        (
            lambda: replaced("user", pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1, 0], pa.int8()))),
            "user: found extension<arrow.bool8>; allowed: int64",
        ),
        (lambda: to_bytes(arrow_values(3).drop_columns(["hour"])), "hour: missing; every row has each of user, item"),
        (
            lambda: to_bytes(arrow_values(3).append_column("fm_click", pa.array([1, 2, 3]))),
            '"fm_click": unknown; the features are user, item',
        ),
        (
            lambda: to_bytes(arrow_values(3).append_column("hour", pa.array([1, 2, 3]))),
            "hour: given 2 times; every row has each of user, item",
        ),
    ],
)
def test_a_wrong_arrow_column_is_told(small_schema: Schema, make: Callable[[], bytes], expected: str) -> None:
    assert refused(ARROW, make(), small_schema).startswith(f"422 {expected}")


def test_arrow_types_that_cast_safely_are_taken(small_schema: Schema) -> None:
    table = arrow_values(5)
    narrow = {"item": pa.uint8(), "hour": pa.int16(), "costly": pa.int32(), "price": pa.float64()}
    fields = [pa.field(f.name, narrow.get(f.name, f.type)) for f in table.schema]
    other = table.cast(pa.schema(fields))
    column = other.schema.get_field_index("history")
    other = other.set_column(column, "history", table["history"].cast(pa.large_list(pa.int32())))
    expected = request_rows(ARROW, to_bytes(table), small_schema, LIMITS)
    assert request_rows(ARROW, to_bytes(other), small_schema, LIMITS).equals(expected)


@pytest.mark.parametrize("field", ["body_bytes", "rows", "history"])
def test_no_value_lifts_a_limit(field: str) -> None:
    for value in (0, -1, None, float("inf"), 2**40):
        with pytest.raises(ValueError, match=field):
            RequestLimits.model_validate({field: value})
