"""Joining features with their feedback: whatever the interleaving, the labels that came in time and no others."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exfm_ray.das.join import FeedbackJoin, Joined, TaskCounts
from exfm_ray.errors import DataError

WINDOWS = {"click": 10, "conversion": 30}
"""seconds"""


def integers(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def add_rows(join: FeedbackJoin, *rows: tuple[int, int]) -> None:
    """(event_id, event_time) each."""
    join.add_rows(*(integers(column) for column in zip(*rows, strict=True)))


def add_feedback(join: FeedbackJoin, task: str, *records: tuple[int, int, int]) -> None:
    """(event_id, event_time, arrival) each."""
    join.add_feedback(task, *(integers(column) for column in zip(*records, strict=True)))


def given_out(joined: Joined) -> list[tuple[int, list[int]]]:
    return list(zip(joined.event_id.tolist(), joined.labels.tolist(), strict=True))


def lost(joined: Joined) -> list[tuple[int, int]]:
    return list(zip(joined.lost_event_id.tolist(), joined.lost_task.tolist(), strict=True))


def test_a_row_is_given_out_when_its_last_window_has_closed() -> None:
    join = FeedbackJoin(WINDOWS)
    add_rows(join, (7, 0), (3, 1_000), (5, 1_000))
    add_feedback(join, "click", (3, 1_000, 11_000), (7, 0, 10_001))
    assert given_out(join.advance(30_000)) == []  # a conversion at 30,000 ms would still be in time
    first = join.advance(30_001)
    assert (given_out(first), lost(first)) == ([(7, [0, 0])], [(7, 0)])
    assert join.counts["click"] == TaskCounts(in_time=0, lost=1, unmatched=0, duplicates=0)
    add_feedback(join, "conversion", (5, 1_000, 31_000))
    last = join.finish()
    assert given_out(last) == [(3, [1, 0]), (5, [0, 1])]
    assert last.event_time.tolist() == [1_000, 1_000]
    assert (join.rows, join.counts["click"].in_time, join.counts["conversion"].in_time) == (3, 1, 1)


def test_the_earliest_record_about_a_label_counts_and_counts_once() -> None:
    join = FeedbackJoin({"click": 10})
    add_rows(join, (1, 0), (2, 0))
    add_feedback(join, "click", (1, 0, 12_000), (1, 0, 3_000), (2, 0, 4_000))
    join.advance(5_000)
    add_feedback(join, "click", (2, 0, 13_000), (1, 0, 14_000))
    assert given_out(join.finish()) == [(1, [1]), (2, [1])]
    assert join.counts == {"click": TaskCounts(in_time=2, lost=0, unmatched=0, duplicates=3)}


def test_what_comes_after_its_row_was_given_out_is_lost_once_even_if_it_arrived_in_time() -> None:
    join = FeedbackJoin({"click": 10})
    add_rows(join, (1, 0), (2, 0), (3, 12_000))
    add_feedback(join, "click", (2, 0, 1_000))
    assert given_out(join.advance(12_000)) == [(1, [0]), (2, [1])]
    add_feedback(join, "click", (1, 0, 9_000), (1, 0, 9_500), (2, 0, 1_000))
    assert lost(join.advance(13_000)) == [(1, 0)]
    assert join.counts["click"] == TaskCounts(in_time=1, lost=1, unmatched=0, duplicates=2)


def test_feedback_may_come_before_its_row_and_is_unmatched_where_no_row_comes() -> None:
    join = FeedbackJoin({"click": 10})
    add_feedback(join, "click", (1, 5_000, 6_000), (2, 5_000, 6_000), (9, 0, 100))
    join.advance(5_000)
    assert join.counts["click"].unmatched == 1
    add_rows(join, (1, 5_000))
    join.advance(5_001)
    assert join.counts["click"].unmatched == 2
    assert given_out(join.finish()) == [(1, [1])]


def test_rows_are_forgotten_after_another_window_and_their_feedback_is_lost_unseen() -> None:
    join = FeedbackJoin({"click": 10})
    add_rows(join, (1, 0))
    join.advance(20_001)
    assert join._blocks == []
    add_feedback(join, "click", (1, 0, 25_000), (8, 0, 25_000))
    assert lost(join.advance(26_000)) == [(1, 0), (8, 0)]
    assert join.counts["click"] == TaskCounts(in_time=0, lost=2, unmatched=0, duplicates=0)


@pytest.mark.parametrize("rows", [((1, 5), (2, 4)), ((1, 5), (1, 6)), ((1, 5), (2, 5), (1, 5))])
def test_rows_out_of_order_or_twice_are_refused(rows: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(DataError):
        add_rows(FeedbackJoin(WINDOWS), *rows)


def test_rows_behind_the_last_ones_or_the_watermark_are_refused() -> None:
    join = FeedbackJoin(WINDOWS)
    add_rows(join, (1, 5_000))
    with pytest.raises(DataError, match="behind 5000 ms"):
        add_rows(join, (2, 4_999))
    join.advance(7_000)
    with pytest.raises(DataError, match="behind 7000 ms"):
        add_rows(join, (2, 6_999))


def test_nothing_joined_is_nothing() -> None:
    joined = FeedbackJoin(WINDOWS).finish()
    assert (joined.event_id.shape, joined.labels.shape, joined.lost_task.shape) == ((0,), (0, 2), (0,))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_interleaving_that_respects_the_watermark_gives_the_labels_within_their_windows(
    data: st.DataObject,
) -> None:
    """Rows in order, records at any time before the watermark passes their arrival, some twice, some of no row."""
    gaps = data.draw(st.lists(st.integers(0, 15_000), min_size=1, max_size=12))
    times = np.cumsum(gaps)
    ids = data.draw(st.permutations(range(len(times))))
    delays = st.one_of(st.integers(0, 40_000), st.sampled_from([10_000, 10_001, 30_000, 30_001]))
    chosen = data.draw(
        st.lists(st.tuples(st.integers(0, len(times) + 1), st.sampled_from(list(WINDOWS)), delays), max_size=25)
    )
    records = []  # the last two rows stand for events whose features were never logged
    for row, task, delay in chosen:
        logged = row < len(times)
        time = int(times[row]) if logged else 1_000 * row
        records.append((task, int(ids[row]) if logged else 1_000 + row, time, time + delay))

    join, seen, lost_labels, watermark = FeedbackJoin(WINDOWS), [], set(), 0
    rows_left = list(zip(ids, times.tolist(), strict=True))
    records_left = list(data.draw(st.permutations(records)))
    while rows_left or records_left:
        what = data.draw(st.sampled_from(["row"] * bool(rows_left) + ["record"] * bool(records_left) + ["advance"]))
        if what == "row":
            count = data.draw(st.integers(1, len(rows_left)))
            add_rows(join, *rows_left[:count])
            rows_left = rows_left[count:]
        elif what == "record":
            task, *record = records_left.pop()
            add_feedback(join, task, (record[0], record[1], record[2]))
        else:
            limit = min([time for _, time in rows_left] + [arrival for *_, arrival in records_left])
            watermark = max(watermark, data.draw(st.integers(0, limit)))
            joined = join.advance(watermark)
            seen += given_out(joined)
            lost_labels |= set(lost(joined))
            assert all(time + 30_000 < watermark for time in joined.event_time.tolist())
    joined = join.finish()
    seen += given_out(joined)
    lost_labels |= set(lost(joined))

    earliest: dict[tuple[int, int], int] = {}
    for task, event, time, arrival in records:
        if event < 1_000:
            cell = event, list(WINDOWS).index(task)
            earliest[cell] = min(earliest.get(cell, arrival - time), arrival - time)
    in_time = {cell for cell, delay in earliest.items() if delay <= 1_000 * list(WINDOWS.values())[cell[1]]}
    assert seen == [(event, [int((event, task) in in_time) for task in (0, 1)]) for event in ids]
    assert lost_labels == earliest.keys() - in_time
    of_task = Counter(task for task, *_ in records)
    for index, task in enumerate(WINDOWS):
        counts = join.counts[task]
        assert sum(asdict(counts).values()) == of_task[task]
        assert counts.in_time == sum(cell[1] == index for cell in in_time)
        assert counts.lost == sum(cell[1] == index for cell in earliest.keys() - in_time)
        assert counts.unmatched == sum(task == other and event >= 1_000 for other, event, *_ in records)
