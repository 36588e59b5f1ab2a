"""Features and their feedback, joined in event time: each task's label counts if it comes within the task's window.

Features are logged when an event happens, a label arrives later (ExFM 3.2: 5 to 90 minutes for clicks, a day for
conversions). The watermark says how far the stream has got; a row is given out once no label can come in time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exfm_ray.errors import DataError

END_OF_TIME = np.iinfo(np.int64).max
MILLISECONDS = 1_000
NONE, LATE, IN_TIME = 0, 1, 2
"""What is known of one label of a row; the best of all records about it holds."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class TaskCounts:
    """Where the feedback records of one task have gone; once all rows are given out they sum to the records added."""

    in_time: int
    lost: int
    """after the window, or after the watermark had closed the row"""
    unmatched: int
    """of a row that never came"""
    duplicates: int
    """a further record about a label that has one"""


@dataclass(frozen=True)
class Joined:
    """n rows whose windows have closed, in event-time order, and m labels that turned out to be lost."""

    event_id: Integers
    event_time: Integers
    """(n,) milliseconds"""
    labels: NDArray[np.int8]
    """(n, tasks) 1 where the feedback came in time, else 0"""
    lost_event_id: Integers
    """(m,) of these rows, or of rows that were given out before"""
    lost_task: Integers
    """(m,) index of the task"""


@dataclass(frozen=True)
class Records:
    """Feedback records, (n,) each."""

    event_id: Integers
    event_time: Integers
    task: Integers
    is_in_time: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.event_id)

    def where(self, chosen: NDArray[np.bool_] | Integers | slice) -> "Records":
        return Records(self.event_id[chosen], self.event_time[chosen], self.task[chosen], self.is_in_time[chosen])


class Block:
    """Rows that were added together: ids, times, and what is known of their labels."""

    def __init__(self, event_id: Integers, event_time: Integers, tasks: int) -> None:
        self.event_id, self.event_time = event_id, event_time
        self.order = np.argsort(event_id, kind="stable").astype(np.int32)
        ids = event_id[self.order]
        if np.any(ids[1:] == ids[:-1]):
            raise DataError(f"event {ids[:-1][ids[1:] == ids[:-1]][0]} has more than one row")
        self.known = np.zeros((len(event_id), tasks), dtype=np.int8)
        self.closed = 0
        """so many of the first rows have been given out"""

    @property
    def first(self) -> int:
        return int(self.event_time[0])

    @property
    def last(self) -> int:
        return int(self.event_time[-1])

    def places(self, event_id: Integers) -> tuple[Integers, NDArray[np.bool_]]:
        """(n,) the rows of these events, and (n,) whether they are here at all."""
        at = np.searchsorted(self.event_id, event_id, sorter=self.order)
        rows = self.order[np.minimum(at, len(self.order) - 1)].astype(np.int64)
        return rows, self.event_id[rows] == event_id


class FeedbackJoin:
    """A streaming join. Rows and records are added in any interleaving; `advance` settles what was added.

    A label is used where arrival - event_time <= its task's window; the earliest record about it counts. Memory holds
    the rows whose windows are open and, to tell duplicates and unmatched records from lost labels, those closed for
    no longer than the longest window; a record about an older row is counted as lost without looking.
    """

    def __init__(self, windows: Mapping[str, int]) -> None:
        """
        Args:
            windows: task → seconds.
        """
        self.tasks = tuple(windows)
        self.rows = 0
        """given out"""
        self.watermark = -END_OF_TIME
        self._in_time, self._lost, self._unmatched, self._duplicates = np.zeros((4, len(windows)), dtype=np.int64)
        self._windows = {task: seconds * MILLISECONDS for task, seconds in windows.items()}
        self._longest = max(self._windows.values())
        self._blocks: list[Block] = []
        self._forgotten_through = -END_OF_TIME
        self._last_row = -END_OF_TIME
        self._records: list[Records] = []

    @property
    def counts(self) -> dict[str, TaskCounts]:
        """By task, of the rows given out so far."""
        columns = np.stack([self._in_time, self._lost, self._unmatched, self._duplicates], axis=1).tolist()
        return {task: TaskCounts(*values) for task, values in zip(self.tasks, columns, strict=True)}

    def add_rows(self, event_id: Integers, event_time: Integers) -> None:
        """Log features: n events, in event-time order inside a call and across calls.

        Args:
            event_id: (n,) unique.
            event_time: (n,) milliseconds, at or after the watermark.

        Raises:
            DataError: an event comes twice in one call, out of order, or after the watermark has passed it.
        """
        if not len(event_id):
            return
        earliest = max(self._last_row, self.watermark)
        if event_time[0] < earliest or np.any(event_time[1:] < event_time[:-1]):
            raise DataError(f"rows from {event_time[0]} ms on are out of event-time order, or behind {earliest} ms")
        self._last_row = int(event_time[-1])
        self._blocks.append(Block(event_id, event_time, len(self.tasks)))

    def add_feedback(self, task: str, event_id: Integers, event_time: Integers, arrival: Integers) -> None:
        """Positive feedback of a task: n records in any order, before or after their rows, (n,) each, in ms."""
        kinds = np.full(len(event_id), self.tasks.index(task), dtype=np.int64)
        in_time = arrival - event_time <= self._windows[task]
        self._records.append(Records(event_id, event_time, kinds, in_time))

    def advance(self, watermark: int) -> Joined:
        """Settle what was added and give out the rows whose last window has closed.

        Args:
            watermark: milliseconds; no row from before it and no record that arrived before it will be added. It never
                goes back.
        """
        lost = self._settle(max(watermark, self.watermark))
        self.watermark = max(watermark, self.watermark)
        given = [self._close(block) for block in self._blocks if block.closed < len(block.event_id)]
        lost += [found for _, found in given]
        while self._blocks and self._blocks[0].last < self.watermark - 2 * self._longest:
            self._forgotten_through = self._blocks.pop(0).last
        return self._joined([rows for rows, _ in given], lost)

    def finish(self) -> Joined:
        """Settle and give out all that is left."""
        return self.advance(END_OF_TIME)

    def _settle(self, watermark: int) -> list[Records]:
        """Put each record to its row; returns those that came after their row was given out.

        Records whose row may still come wait.
        """
        pending, lost = _concatenated(self._records), []
        pending = pending.where(np.argsort(pending.event_time, kind="stable"))
        matched = np.zeros(len(pending), dtype=bool)
        for block in self._blocks:
            begin = int(np.searchsorted(pending.event_time, block.first))
            end = int(np.searchsorted(pending.event_time, block.last, side="right"))
            if begin < end:
                records = pending.where(slice(begin, end))
                rows, found = block.places(records.event_id)
                lost.append(self._mark(block, rows[found], records.where(found)))
                matched[begin:end] |= found
        waiting = ~matched & (pending.event_time >= watermark)
        forgotten = ~matched & ~waiting & (pending.event_time <= self._forgotten_through)
        self._records = [pending.where(waiting)]
        lost.append(pending.where(forgotten))
        self._lost += self._by_task(lost[-1].task)
        self._unmatched += self._by_task(pending.task[~matched & ~waiting & ~forgotten])
        return lost

    def _mark(self, block: Block, rows: Integers, records: Records) -> Records:
        """Note records about rows of a block; returns the labels that are lost because their row was given out."""
        known, cells = block.known.reshape(-1), rows * len(self.tasks) + records.task
        _, first = np.unique(cells, return_index=True)
        fresh = np.zeros(len(cells), dtype=bool)
        fresh[first] = known[cells[first]] == NONE
        self._duplicates += self._by_task(records.task[~fresh])
        is_open = rows >= block.closed
        known[cells[fresh]] = LATE
        known[cells[records.is_in_time]] = IN_TIME
        lost = records.where(fresh & ~is_open)
        self._lost += self._by_task(lost.task)
        return lost

    def _close(self, block: Block) -> tuple[tuple[Integers, Integers, NDArray[np.int8]], Records]:
        """The block's rows whose last window has closed by now, and the labels that came too late for them."""
        start = block.closed
        block.closed = int(np.searchsorted(block.event_time, self.watermark - self._longest))
        rows = slice(start, block.closed)
        known, times, ids = block.known[rows], block.event_time[rows], block.event_id[rows]
        self.rows += len(ids)
        self._in_time += np.count_nonzero(known == IN_TIME, axis=0)
        late, tasks = np.nonzero(known == LATE)
        self._lost += self._by_task(tasks)
        lost = Records(ids[late], times[late], tasks, np.zeros(len(late), dtype=bool))
        return (ids, times, (known == IN_TIME).astype(np.int8)), lost

    def _by_task(self, tasks: Integers) -> Integers:
        return np.bincount(tasks, minlength=len(self.tasks)).astype(np.int64)

    def _joined(self, rows: list[tuple[Integers, Integers, NDArray[np.int8]]], lost: list[Records]) -> Joined:
        whole = _concatenated(lost)
        ids, times, labels = zip(*rows, strict=True) if rows else ((), (), ())
        return Joined(
            event_id=np.concatenate([_NO_INTEGERS, *ids]),
            event_time=np.concatenate([_NO_INTEGERS, *times]),
            labels=np.concatenate([np.zeros((0, len(self.tasks)), dtype=np.int8), *labels]),
            lost_event_id=whole.event_id,
            lost_task=whole.task,
        )


_NO_INTEGERS = np.zeros(0, dtype=np.int64)
_NO_RECORDS = Records(_NO_INTEGERS, _NO_INTEGERS, _NO_INTEGERS, np.zeros(0, dtype=bool))


def _concatenated(parts: list[Records]) -> Records:
    whole = [_NO_RECORDS, *parts]
    return Records(
        event_id=np.concatenate([part.event_id for part in whole]),
        event_time=np.concatenate([part.event_time for part in whole]),
        task=np.concatenate([part.task for part in whole]),
        is_in_time=np.concatenate([part.is_in_time for part in whole]),
    )
