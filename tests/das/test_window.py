"""The replay of a day: literal requests with literal answers, and limits that can be worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exfm_ray.das.window import Requests, RequestTime, head_room, measured_of, measured_requests, window_use
from exfm_ray.data.commit import Made

DAY = 86_400_000


def request(first: int, last: int, rows: int, seconds: float) -> RequestTime:
    return RequestTime(first_event=first, last_event=last, rows=rows, seconds=seconds)


def steady(count: int, rows: int = 100, seconds: float = 1.0) -> list[RequestTime]:
    """A day of requests that follow each other at once."""
    return [request(DAY * i // count, DAY * (i + 1) // count, rows, seconds) for i in range(count)]


def test_a_request_waits_for_its_last_row_and_for_a_free_replica() -> None:
    requests = [request(0, 10_000, 10, 5.0), request(10_000, 12_000, 10, 5.0), request(12_000, 13_000, 10, 5.0)]
    assert Requests.of(requests, 1).answered().tolist() == [15.0, 20.0, 25.0]
    assert Requests.of(requests, 2).answered().tolist() == [15.0, 17.0, 20.0]
    assert Requests.of(requests[::-1], 3).answered().tolist() == [15.0, 17.0, 18.0]


def test_used_time_is_from_each_rows_own_event_to_the_answer() -> None:
    # rows lie evenly from 0 s to 100 s and are answered at 110 s: 10 s to 110 s are used
    use = window_use(Requests.of([request(0, 100_000, 1_000, 10.0)], 1), window=200.0)
    assert use.p50 == pytest.approx(60.0)
    assert use.p99 == pytest.approx(109.0)
    assert use.head_room == pytest.approx(91.0)
    assert head_room(Requests.of([request(0, 100_000, 1_000, 10.0)], 1), window=200.0) == use.head_room
    assert use.answer_p99 == pytest.approx(10.0)
    assert use.hidden == 1.0


def test_percentiles_are_over_rows_and_hidden_is_over_work() -> None:
    requests = [request(0, 0, 97, 1.0), request(1_000_000, 1_000_000, 3, 9.0)]
    use = window_use(Requests.of(requests, 1), window=5.0)
    assert (use.p50, use.p99) == (pytest.approx(1.0), pytest.approx(9.0))
    assert use.hidden == pytest.approx(0.1)
    assert use.head_room == pytest.approx(-4.0)


def test_hidden_needs_every_row_of_the_request_inside_the_window() -> None:
    requests = Requests.of([request(0, 100_000, 1_000, 10.0)], 1)
    assert window_use(requests, window=110.0).hidden == 1.0
    assert window_use(requests, window=109.9).hidden == 0.0


def test_traffic_can_grow_until_the_fm_is_always_busy_where_the_window_is_wide() -> None:
    # 24 requests of 1 s in a day: 3,600 times as many fill the day of one replica
    use = window_use(Requests.of(steady(24), 1), window=86_400.0)
    assert use.most_traffic == pytest.approx(3_600.0)
    assert window_use(Requests.of(steady(24), 2), window=86_400.0).most_traffic == pytest.approx(7_200.0)


def test_a_peak_limits_traffic_before_the_average_does() -> None:
    # half of the work comes in the first hour: s times as much of it keeps the FM busy for 1,800 s seconds,
    # and the last rows of the peak wait 1,800 s - 3,600 seconds, which may be 5,400; the evening is quiet
    peak = [request(i * 60_000, (i + 1) * 60_000, 100, 30.0) for i in range(60)]
    quiet = [request(i * 1_380_000 + 3_600_000, (i + 1) * 1_380_000 + 3_600_000, 1, 30.0) for i in range(60)]
    use = window_use(Requests.of(peak + quiet, 1), window=5_400.0)
    assert use.most_traffic is not None
    assert use.most_traffic == pytest.approx(5.0, rel=0.03)
    assert use.most_traffic < 86_400 / 3_600


def test_no_traffic_fits_where_the_work_of_one_request_is_longer_than_the_window() -> None:
    assert window_use(Requests.of(steady(4, seconds=50.0), 1), window=20.0).most_traffic is None
    assert window_use(Requests.of(steady(4, seconds=50_000.0), 1), window=200_000.0).most_traffic is None


def test_more_traffic_may_fit_where_the_day_as_it_is_does_not() -> None:
    """With few rows the wait for a request to fill is what leaves the window."""
    use = window_use(Requests.of(steady(8), 1), window=5_400.0)
    assert use.p99 > 10_000
    assert use.most_traffic == pytest.approx(86_400 / 8)
    assert use.answer_p99 == pytest.approx(1.0)


@given(st.floats(1.0, 1_000_000.0), st.integers(1, 50))
def test_a_denser_day_keeps_its_span_and_has_as_many_times_rows_and_work(times: float, count: int) -> None:
    requests = Requests.of(steady(count), 1)
    denser = requests.denser(times)
    assert (denser.first_event.min(), denser.last_event.max()) == (0.0, 86_400.0)
    assert denser.rows.sum() == pytest.approx(requests.rows.sum() * times)
    assert denser.work == pytest.approx(requests.work * times)
    assert len(denser) <= max(4_096, count)


def test_requests_are_read_back_from_manifests_of_several_days() -> None:
    days = [steady(3), [request(DAY, DAY + 5, 7, 0.25)]]
    made = [Made(host="a", process=1, started=0.0, seconds=1.0, measured=measured_of(day, 2)) for day in days]
    found = measured_requests([Made.model_validate_json(one.model_dump_json()) for one in made])
    assert found is not None
    assert (found.replicas, found.rows.tolist()) == (2, [100.0, 100.0, 100.0, 7.0])
    assert found.last_event[-1] == 86_400.005
    assert found.seconds.tolist() == [1.0, 1.0, 1.0, 0.25]


def test_a_day_without_a_record_leaves_nothing_to_replay() -> None:
    recorded = Made(host="a", process=1, started=0.0, seconds=1.0, measured=measured_of(steady(1), 1))
    assert measured_requests([recorded, Made(host="a", process=1, started=0.0, seconds=1.0)]) is None
    assert measured_requests([]) is None
