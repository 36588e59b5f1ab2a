"""Requests of a replica: a bounded queue, and small requests for the newest snapshot predicted together."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import pyarrow as pa

from exfm_ray.das.predictor import Predictor
from exfm_ray.errors import DataError
from exfm_ray.models.inputs import Inputs, joined

Result = TypeVar("Result")

UNFIT = (DataError, KeyError, TypeError, ValueError, OverflowError, AttributeError, pa.ArrowException)
"""what encoding raises over a column that is missing, of another type, or out of range"""


class BusyError(Exception):
    """So many rows wait here that this request was turned away; nothing of it was done, so it may be sent again."""


class UnfitRowsError(DataError):
    """A request's rows are not what the snapshot reads; sent again, they would be no better."""


@dataclass(frozen=True)
class Answer:
    """What a request is told."""

    identity: str
    """of the snapshot that made exactly these rows"""
    rows: pa.Table
    """`fm_<task>` per row of the request, in its order"""
    seconds: float
    """of the work: the request's share, by rows, of the batch that it was in"""


@dataclass(frozen=True)
class Request:
    """Rows that wait for a prediction."""

    rows: pa.Table
    pinned: Predictor | None
    """answers, with no other rows beside these; None: the newest snapshot answers"""
    answer: asyncio.Future[Answer]
    arrived: float
    """seconds of the event loop's clock"""


class Watch(Protocol):
    """Is told what happens in the queue."""

    def queued(self, rows: int) -> None:
        """So many rows wait now."""
        ...

    def refused(self) -> None:
        """A request was turned away."""
        ...

    def batch(self, rows: int) -> None:
        """So many rows are predicted together now."""
        ...


def take_batch(waiting: deque[Request], most_rows: int) -> list[Request]:
    """Take what is predicted next off the queue: the first request, and those behind it that may join.

    A pinned request stays alone: sums round by the number of rows beside them, and what a pinned snapshot says must
    not depend on who else asks.
    """
    batch = [waiting.popleft()]
    rows = batch[0].rows.num_rows
    while batch[0].pinned is None and waiting and waiting[0].pinned is None:
        rows += waiting[0].rows.num_rows
        if rows > most_rows:
            break
        batch.append(waiting.popleft())
    return batch


def is_full(waiting: Sequence[Request], most_rows: int) -> bool:
    """Whether the next batch can't grow: a pinned request ends it, or there are rows enough."""
    rows = 0
    for request in waiting:
        rows += request.rows.num_rows
        if request.pinned is not None or rows >= most_rows:
            return True
    return False


def encoded(rows: pa.Table, predictor: Predictor) -> Inputs:
    """One request's rows as the predictor takes them.

    Raises:
        UnfitRowsError: a column is missing, of a wrong type, or contradicts itself.
    """
    try:
        rows.validate(full=True)
        inputs = predictor.encoded(rows)
    except UNFIT as error:
        reason = next(iter(str(error).strip("'\"").splitlines()), type(error).__name__)
        raise UnfitRowsError(f"these rows do not fit {predictor.identity}: {reason}") from error
    if any(int(sequence.offsets[-1]) != len(sequence.values) for sequence in inputs.sequences):
        raise UnfitRowsError(f"these rows do not fit {predictor.identity}: a history is null; send an empty one")
    return inputs


class RowBatcher:
    """Answers requests in the order in which they came, one batch at a time.

    Args:
        newest: the predictor that answers now; asked once as each batch starts.
        compute: runs the predictions, so that the event loop stays free.
        batch_rows: most rows that are predicted at once; a larger request is cut.
        wait_seconds: from a request's arrival, for others to join it.
        queued_rows: most rows that wait. A request with more is let in where nothing waits.
    """

    def __init__(
        self,
        newest: Callable[[], Predictor],
        compute: Executor,
        batch_rows: int,
        wait_seconds: float,
        queued_rows: int,
        watch: Watch,
    ) -> None:
        self._newest, self._compute, self._watch = newest, compute, watch
        self._batch_rows, self._wait_seconds, self._queued_rows = batch_rows, wait_seconds, queued_rows
        self._waiting: deque[Request] = deque()
        self._rows = 0
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def predict(self, rows: pa.Table, pinned: Predictor | None = None) -> Answer:
        """Supervise rows.

        Args:
            pinned: the predictor that must answer; None: the newest when the batch starts.

        Raises:
            BusyError: too many rows wait.
            UnfitRowsError: the rows do not fit the snapshot.
        """
        if self._waiting and self._rows + rows.num_rows > self._queued_rows:
            self._watch.refused()
            raise BusyError(f"{self._rows} rows wait, and {rows.num_rows} more are beyond das.queued_rows; ask later")
        loop = asyncio.get_running_loop()
        request = Request(rows, pinned, loop.create_future(), loop.time())
        self._waiting.append(request)
        self._count(rows.num_rows)
        if is_full(self._waiting, self._batch_rows):
            self._full.set()
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return await request.answer

    async def _work(self) -> None:
        """Until nothing waits."""
        while self._waiting:
            await self._let_others_join()
            batch = take_batch(self._waiting, self._batch_rows)
            self._count(-sum(request.rows.num_rows for request in batch))
            wanted = [request for request in batch if not request.answer.done()]  # a caller may have gone
            try:
                await self._answer(wanted)
            except Exception as error:  # of any kind: whoever waits must be told, and the next batch be served
                _fail(wanted, error)

    async def _let_others_join(self) -> None:
        self._full.clear()
        if not is_full(self._waiting, self._batch_rows):
            left = self._waiting[0].arrived + self._wait_seconds - asyncio.get_running_loop().time()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), left)

    async def _answer(self, batch: Sequence[Request]) -> None:
        """By one predictor, whatever becomes the newest meanwhile; who sent bad rows fails alone."""
        if not batch:
            return
        pinned = batch[0].pinned
        predictor = self._newest() if pinned is None else pinned
        self._watch.batch(sum(request.rows.num_rows for request in batch))
        started = time.perf_counter()
        encodings = await self._computed(lambda: [_encoding(request.rows, predictor) for request in batch])
        sound: list[tuple[Request, Inputs]] = []
        for request, encoding in zip(batch, encodings, strict=True):
            if isinstance(encoding, UnfitRowsError):
                _fail([request], encoding)
            else:
                sound.append((request, encoding))
        if sound:
            whole = joined([inputs for _, inputs in sound])
            most_rows = self._batch_rows if pinned is None else len(whole)
            answers = await self._predicted(whole, predictor, most_rows)
            _share_out([request for request, _ in sound], predictor, answers, time.perf_counter() - started)

    async def _predicted(self, whole: Inputs, predictor: Predictor, most_rows: int) -> pa.Table:
        """Piece by piece."""
        pieces = []
        for start in range(0, max(len(whole), 1), max(most_rows, 1)):
            piece = whole.rows(start, min(start + most_rows, len(whole)))
            pieces.append(await self._computed(partial(predictor.answer, piece)))
        return pa.concat_tables(pieces)

    async def _computed(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._compute, work)

    def _count(self, rows: int) -> None:
        self._rows += rows
        self._watch.queued(self._rows)


def _encoding(rows: pa.Table, predictor: Predictor) -> Inputs | UnfitRowsError:
    """`encoded`, or what is wrong with the rows."""
    try:
        return encoded(rows, predictor)
    except UnfitRowsError as error:
        return error


def _share_out(batch: Sequence[Request], predictor: Predictor, answers: pa.Table, seconds: float) -> None:
    start = 0
    for request in batch:
        rows = request.rows.num_rows
        if not request.answer.done():
            share = seconds * rows / max(answers.num_rows, 1)
            request.answer.set_result(Answer(predictor.identity, answers.slice(start, rows), share))
        start += rows


def _fail(batch: Sequence[Request], error: Exception) -> None:
    for request in batch:
        if not request.answer.done():
            request.answer.set_exception(error)
