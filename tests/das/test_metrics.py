"""What the service tells is found at the real Prometheus endpoint of a node of Ray, with the values that it has."""

import time
from pathlib import Path

import pytest
from ray import serve

from exfm_ray.das.batching import BusyError
from exfm_ray.das.deployment import serving
from exfm_ray.das.metrics import ReplicaMetrics, ReplicaState, WindowMetrics
from exfm_ray.das.pointer import point_to
from exfm_ray.das.pointer_at import pointer_at
from exfm_ray.das.wire import to_bytes
from exfm_ray.data.experiment import Experiment
from exfm_ray.errors import DataError
from tests.das.live import Trainer, experiment, rows, wait_until
from tests.das.scrape import samples, total

ROWS, QUEUED_ROWS = 64, 256
LEASE_SECONDS = 600.0


def test_without_a_cluster_nothing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    metrics = ReplicaMetrics()
    metrics.queued(5)
    metrics.refused()
    metrics.batch(5)
    metrics.failed()
    metrics.answered(5, 0.1)
    metrics.answered(0, 0.1)
    metrics.state(ReplicaState(None, None, None, swaps=0, failed_loads=0))
    metrics.state(ReplicaState(3, 1.0, -1.0, swaps=1, failed_loads=2))
    WindowMetrics("application").headroom(-3.0)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def run(tmp_path: Path) -> Experiment:
    das = {
        "poll_seconds": 0.05,
        "lease_seconds": LEASE_SECONDS,
        "swap_timeout_seconds": 5,
        "batch_rows": ROWS,
        "batch_wait_seconds": 1.0,
        "queued_rows": QUEUED_ROWS,
    }
    return experiment(tmp_path / "run", das, {"mode": "ray"})


@pytest.mark.ray
@pytest.mark.usefixtures("ray_node")
def test_prometheus_finds_what_happened(run: Experiment) -> None:
    table = rows(run, ROWS)
    trainer, pointer = Trainer(run, table), pointer_at(run.pointer)
    started = time.time()
    for day in (1, 2):
        trainer.publish(day)
    point_to(pointer, 1, time.time(), LEASE_SECONDS)
    with serving(run, run.pointer) as (name, _):
        handle = serve.get_app_handle(name)
        assert handle.predict.remote(to_bytes(table), 1).result()[0] == "fm/day=001"
        point_to(pointer, 2, time.time(), LEASE_SECONDS)
        assert handle.predict.remote(to_bytes(table), 2).result()[0] == "fm/day=002"
        with pytest.raises(DataError):
            handle.predict.remote(b"no rows", None).result()
        responses = [handle.predict.remote(to_bytes(table.slice(0, 40)), None) for _ in range(30)]
        outcomes = [outcome(response) for response in responses]
        answered, refused = outcomes.count("answered"), outcomes.count("refused")
        assert answered + refused == 30
        assert refused > 0
        point_to(pointer, 3, time.time(), LEASE_SECONDS)  # of a day that has no snapshot

        def told(metric: str) -> float | None:
            return total(f"ray_exfm_das_{metric}", name)

        wait_until(lambda: (told("failed_loads_total") or 0) > 0, "a failed load")
        assert told("requests_total") == 2 + answered
        assert told("rows_total") == 2 * ROWS + 40 * answered
        assert told("refused_requests_total") == refused
        assert told("failed_requests_total") == 1
        assert told("request_latency_seconds_count") == 2 + answered
        assert told("batch_rows_count") == 2 + answered  # two requests of 40 rows are beyond a batch
        within = {sample.tags["le"]: sample.value for sample in samples("ray_exfm_das_batch_rows_bucket", name)}
        assert within["16.0"] == 0
        assert within["64.0"] == 2 + answered
        assert told("queued_rows") == 0
        assert told("snapshot_day") == 2
        assert told("swaps_total") == 1
        age, lease = told("snapshot_age_seconds"), told("lease_left_seconds")
        assert age is not None
        assert 0 <= age <= time.time() - started
        assert lease is not None
        assert LEASE_SECONDS / 2 < lease <= LEASE_SECONDS
        [day] = samples("ray_exfm_das_snapshot_day", name)
        assert day.tags["deployment"] == "FoundationModel"
        assert day.tags["replica"]
        WindowMetrics(name).headroom(12.5)
        wait_until(lambda: told("window_headroom_seconds") == 12.5, "the window's head-room")


def outcome(response: object) -> str:
    try:
        response.result()  # type: ignore[attr-defined]
    except BusyError:
        return "refused"
    return "answered"
