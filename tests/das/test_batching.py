"""Rows that wait together are predicted together, each request gets its own back, and a bad one fails alone."""

import asyncio
import pickle
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from exfm_ray.das.batching import Answer, BusyError, Request, RowBatcher, is_full, take_batch
from exfm_ray.das.predictor import Predictor
from exfm_ray.errors import DataError
from exfm_ray.schema import Schema
from tests.das.predictors import predictor, rows

LONG = 60.0
"""seconds that no test waits: what waits for others is woken by them"""


class Notes:
    """What the queue says of itself."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.waiting: list[int] = []
        self.turned_away = 0

    def queued(self, rows: int) -> None:
        self.waiting.append(rows)

    def refused(self) -> None:
        self.turned_away += 1

    def batch(self, rows: int) -> None:
        self.batches.append(rows)


@pytest.fixture
def compute() -> Iterator[Executor]:
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield executor


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def teacher(small_schema: Schema) -> Predictor:
    return predictor(small_schema, 1)


def answered(
    batcher: Callable[[], RowBatcher], requests: list[pa.Table], pinned: Predictor | None = None
) -> list[Answer | BaseException]:
    """What each of the requests, sent at once and in order, is told."""

    async def ask() -> list[Answer | BaseException]:
        queue = batcher()
        return await asyncio.gather(*(queue.predict(table, pinned) for table in requests), return_exceptions=True)

    return asyncio.run(ask())


def agrees(answer: Answer | BaseException, teacher: Predictor, table: pa.Table) -> None:
    """Sums over other numbers of rows round otherwise."""
    assert isinstance(answer, Answer), answer
    assert answer.identity == teacher.identity
    assert answer.rows.num_rows == table.num_rows
    for name in ("fm_click", "fm_like"):
        np.testing.assert_allclose(answer.rows[name].to_numpy(), teacher.predict(table)[name].to_numpy(), atol=1e-6)


def test_requests_that_fill_a_batch_are_predicted_together(teacher: Predictor, compute: Executor, notes: Notes) -> None:
    requests = [rows(count, seed) for seed, count in enumerate((3, 1, 4, 2))]
    answers = answered(lambda: RowBatcher(lambda: teacher, compute, 10, LONG, 100, notes), requests)
    for answer, table in zip(answers, requests, strict=True):
        agrees(answer, teacher, table)
    assert notes.batches == [10]
    assert notes.waiting == [3, 4, 8, 10, 0]


def test_a_batch_that_does_not_fill_goes_once_its_first_request_has_waited(
    teacher: Predictor, compute: Executor, notes: Notes
) -> None:
    requests = [rows(3), rows(2, seed=1)]
    answers = answered(lambda: RowBatcher(lambda: teacher, compute, 1_000, 0.02, 1_000, notes), requests)
    for answer, table in zip(answers, requests, strict=True):
        agrees(answer, teacher, table)
    assert notes.batches == [5]


def test_a_request_that_would_overflow_a_batch_begins_the_next(
    teacher: Predictor, compute: Executor, notes: Notes
) -> None:
    requests = [rows(6), rows(6, seed=1), rows(4, seed=2)]
    answers = answered(lambda: RowBatcher(lambda: teacher, compute, 10, LONG, 100, notes), requests)
    for answer, table in zip(answers, requests, strict=True):
        agrees(answer, teacher, table)
    assert notes.batches == [6, 10]


def test_a_large_request_is_cut_and_answered_by_one_snapshot(
    small_schema: Schema, compute: Executor, notes: Notes
) -> None:
    asked: list[int] = []

    def newest() -> Predictor:
        asked.append(len(asked))
        return predictor(small_schema, len(asked))

    [answer] = answered(lambda: RowBatcher(newest, compute, 7, LONG, 100, notes), [rows(50)])
    agrees(answer, predictor(small_schema, 1), rows(50))
    assert asked == [0]


def test_each_batch_is_answered_by_the_snapshot_that_was_newest_as_it_began(
    small_schema: Schema, compute: Executor, notes: Notes
) -> None:
    snapshots = [predictor(small_schema, day) for day in (1, 2)]
    left = deque(snapshots)
    requests = [rows(2, seed) for seed in range(4)]
    answers = answered(lambda: RowBatcher(left.popleft, compute, 4, LONG, 100, notes), requests)
    for answer, snapshot, table in zip(answers, np.repeat(np.array([0, 1]), 2), requests, strict=True):
        agrees(answer, snapshots[snapshot], table)


def test_pinned_requests_are_alone_and_bit_for_bit_what_the_snapshot_says(
    small_schema: Schema, teacher: Predictor, compute: Executor, notes: Notes
) -> None:
    pinned = predictor(small_schema, 9)
    requests = [rows(20, seed) for seed in range(3)]
    answers = answered(lambda: RowBatcher(lambda: teacher, compute, 7, LONG, 100, notes), requests, pinned)
    for answer, table in zip(answers, requests, strict=True):
        assert isinstance(answer, Answer)
        assert answer.identity == "fm/day=009"
        assert answer.rows.equals(pinned.predict(table))
    assert notes.batches == [20, 20, 20]


BAD: dict[str, Callable[[pa.Table], pa.Table]] = {
    "missing": lambda table: table.drop_columns(["user"]),
    "text": lambda table: table.set_column(3, "price", pa.array(["dear"] * table.num_rows)),
    "nulls": lambda table: table.set_column(0, "user", pa.nulls(table.num_rows, pa.int64())),
    "beyond": lambda table: table.set_column(2, "hour", pa.array([24] * table.num_rows)),
    "no list": lambda table: table.set_column(5, "history", table["user"]),
    "list of text": lambda table: table.set_column(5, "history", pa.array([["x"]] * table.num_rows)),
    "torn list": lambda table: table.set_column(5, "history", torn_list(table.num_rows)),
    "null list": lambda table: table.set_column(5, "history", null_list(table.num_rows)),
}


def torn_list(count: int) -> pa.Array:
    """Offsets far beyond the values."""
    offsets = pa.array([0, 10**6, *[0] * (count - 2), 2], pa.int32())
    return pa.Array.from_buffers(pa.list_(pa.int64()), count, [None, offsets.buffers()[1]], children=[pa.array([1, 2])])


def null_list(count: int) -> pa.Array:
    """Nulls that hide values."""
    return pa.ListArray.from_arrays(list(range(count + 1)), list(range(count)), mask=pa.array([True] * count))


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_request_fails_alone(fault: str, teacher: Predictor, compute: Executor, notes: Notes) -> None:
    requests = [rows(3), BAD[fault](rows(3, seed=1)), rows(4, seed=2)]
    before, bad, after = answered(lambda: RowBatcher(lambda: teacher, compute, 10, LONG, 100, notes), requests)
    agrees(before, teacher, requests[0])
    agrees(after, teacher, requests[2])
    assert isinstance(bad, DataError)
    assert "do not fit fm/day=001" in str(bad)
    assert notes.batches == [10]


def test_clients_may_send_other_widths_orders_and_more_columns(
    teacher: Predictor, compute: Executor, notes: Notes
) -> None:
    narrow = rows(5, seed=1)
    narrow = narrow.set_column(0, "user", narrow["user"].cast(pa.int16())).append_column("more", pa.array(["x"] * 5))
    requests = [rows(5), narrow.select(list(reversed(narrow.column_names)))]
    answers = answered(lambda: RowBatcher(lambda: teacher, compute, 10, LONG, 100, notes), requests)
    for answer, table in zip(answers, requests, strict=True):
        agrees(answer, teacher, table)
    assert notes.batches == [10]


def test_more_rows_than_may_wait_are_turned_away_at_once(teacher: Predictor, compute: Executor, notes: Notes) -> None:
    requests = [rows(4), rows(4, seed=1), rows(4, seed=2), rows(2, seed=3)]
    answers = answered(lambda: RowBatcher(lambda: teacher, compute, 100, 0.02, 10, notes), requests)
    for index in (0, 1, 3):
        agrees(answers[index], teacher, requests[index])
    assert isinstance(answers[2], BusyError)
    assert notes.turned_away == 1
    assert max(notes.waiting) == 10


def test_a_request_of_more_rows_than_may_wait_is_let_in_where_nothing_waits(
    teacher: Predictor, compute: Executor, notes: Notes
) -> None:
    large = rows(30)
    first, second = answered(lambda: RowBatcher(lambda: teacher, compute, 8, LONG, 10, notes), [large, large])
    agrees(first, teacher, large)
    assert isinstance(second, BusyError)


def test_a_refusal_travels_between_processes() -> None:
    refusal = pickle.loads(pickle.dumps(BusyError("20 rows wait")))
    assert isinstance(refusal, BusyError)
    assert str(refusal) == "20 rows wait"


def in_a_loop(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def test_the_event_loop_is_free_while_rows_are_predicted(teacher: Predictor, compute: Executor, notes: Notes) -> None:
    async def scenario() -> None:
        held = threading.Event()
        compute.submit(held.wait)
        batcher = RowBatcher(lambda: teacher, compute, 4, LONG, 100, notes)
        request = asyncio.create_task(batcher.predict(rows(4)))
        while not notes.batches:
            await asyncio.sleep(0)
        assert not request.done()
        held.set()
        agrees(await request, teacher, rows(4))

    in_a_loop(scenario())


def test_a_caller_that_goes_away_takes_its_rows_along(teacher: Predictor, compute: Executor, notes: Notes) -> None:
    async def scenario() -> None:
        batcher = RowBatcher(lambda: teacher, compute, 8, LONG, 100, notes)
        gone = asyncio.create_task(batcher.predict(rows(4)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        agrees(await batcher.predict(rows(4, seed=1)), teacher, rows(4, seed=1))
        assert notes.batches == [4]

    in_a_loop(scenario())


def test_a_failure_of_ours_is_told_and_the_next_request_is_served(
    teacher: Predictor, compute: Executor, notes: Notes
) -> None:
    outcomes: deque[Callable[[], Predictor]] = deque([lambda: outcomes[99](), lambda: teacher])

    async def scenario() -> None:
        batcher = RowBatcher(lambda: outcomes.popleft()(), compute, 4, LONG, 100, notes)
        with pytest.raises(IndexError):
            await batcher.predict(rows(4))
        agrees(await batcher.predict(rows(4)), teacher, rows(4))

    in_a_loop(scenario())


@pytest.mark.parametrize(
    ("waiting", "most_rows", "taken"),
    [
        ("3 3 3", 6, 2),
        ("3 3 3", 9, 3),
        ("9 1", 6, 1),
        ("2p 2 2", 6, 1),
        ("2 2p 2", 6, 1),
        ("2 2 2p", 6, 2),
        ("0 0 6", 6, 3),
    ],
)
def test_what_is_taken_together(waiting: str, most_rows: int, taken: int, teacher: Predictor) -> None:
    """`p`: pinned."""
    queue = deque(
        Request(rows(int(word.strip("p"))), teacher if word.endswith("p") else None, Future(), 0.0)  # type: ignore[arg-type]
        for word in waiting.split()
    )
    expected = list(queue)[:taken]
    assert take_batch(queue, most_rows) == expected
    assert len(queue) == len(waiting.split()) - taken


def test_a_pinned_request_or_rows_enough_end_the_waiting(teacher: Predictor) -> None:
    def request(count: int, pinned: Predictor | None = None) -> Request:
        return Request(rows(count), pinned, Future(), 0.0)  # type: ignore[arg-type]

    assert not is_full([], 4)
    assert not is_full([request(3)], 4)
    assert is_full([request(3), request(1)], 4)
    assert is_full([request(1), request(1, teacher)], 4)
