"""Snapshots are swapped under steady load: every request is answered, each wholly by the snapshot that it names."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ray import serve

from exfm_ray.das.deployment import serving
from exfm_ray.das.pointer import point_to
from exfm_ray.das.pointer_at import pointer_at
from exfm_ray.data.commit import require
from exfm_ray.data.experiment import Experiment
from tests.das.live import Client, Trainer, clients, experiment, rows, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SWAPS = 20
CORRUPT = 11
"""a day among those swapped to"""
SWAPS_AT_ONCE, STILL_SECONDS = 5, 2.0
"""swaps in a row, and of load without any before them: by turns, so that both see the same machine"""
TOLERANCE = 1e-5
"""float32 sums round by the number of rows beside them; snapshots differ by a thousand times as much"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Experiment]:
    """An FM with tables of 32 MB, of which none stays."""
    yield experiment(tmp_path / "run", {"poll_seconds": 0.05}, {"mode": "ray"}, users=250_000)
    shutil.rmtree(tmp_path / "run" / "snapshots")


def spoil(run: Experiment, day: int) -> None:
    """Change one bit of a snapshot's parameters."""
    directory = run.snapshots.day(day)
    place = Path((directory / require(directory).files[0].name).uri)
    with place.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))


def heard(loaded: list[Client], identity: str) -> bool:
    """Whether every client has."""
    return all(client.failure or client.answers[-1][0] == identity for client in loaded)


def swap_through(run: Experiment, loaded: list[Client]) -> None:
    """Move the pointer on once every client has heard of the snapshot that it names."""
    pointer = pointer_at(run.pointer)
    for day in range(2, SWAPS + 3):
        if day % SWAPS_AT_ONCE == 2:
            note(loaded, "still")
            time.sleep(STILL_SECONDS)
            note(loaded, "swaps")
        point_to(pointer, day, 0.0, 1e12)
        if day == CORRUPT:
            enough = len(loaded[0].answers) + 100
            wait_until(partial(has_answers, loaded[0], enough), "answers while the corrupt one is refused")
        else:
            identity = run.snapshot_identity(day)
            wait_until(partial(heard, loaded, identity), f"answers of {identity}")


def note(loaded: list[Client], phase: str) -> None:
    for client in loaded:
        client.phase = phase


def has_answers(client: Client, count: int) -> bool:
    return client.failure is not None or len(client.answers) >= count


@pytest.mark.usefixtures("ray_node")
def test_twenty_swaps_under_load(run: Experiment, record_property: Callable[[str, object], None]) -> None:
    table = rows(run, 64)
    trainer = Trainer(run, table)
    for day in range(1, SWAPS + 3):
        trainer.publish(day)
    spoil(run, CORRUPT)
    point_to(pointer_at(run.pointer), 1, 0.0, 1e12)
    with serving(run, run.pointer) as (application, _):
        handle = serve.get_app_handle(application)
        loaded, end = clients(handle, table, 3, pause_seconds=0.005), threading.Event()
        threads = [client.start(end) for client in loaded]
        try:
            wait_until(lambda: all(has_answers(client, 1) for client in loaded), "answers")
            swap_through(run, loaded)
        finally:
            end.set()
            for thread in threads:
                thread.join()
    latencies = {phase: np.concatenate([c.latencies[phase] for c in loaded]) * 1e3 for phase in ("still", "swaps")}
    still, swaps = (float(np.quantile(latencies[phase], 0.99)) for phase in ("still", "swaps"))
    worst = latencies["swaps"].max()
    told = f"p99 {still:.1f} ms still ({len(latencies['still'])}), {swaps:.1f} ms through {SWAPS} swaps "
    told += f"({len(latencies['swaps'])}), ratio {swaps / still:.2f}; worst {worst:.1f} ms"
    print(told)
    record_property("latency", told)

    days = [day for day in range(1, SWAPS + 3) if day != CORRUPT]
    for client in loaded:
        assert client.failure is None
        named = [identity for identity, _ in client.answers]
        assert list(dict.fromkeys(named)) == [f"fm/day={day:03d}" for day in days]  # all, none that is corrupt
        assert named == sorted(named)  # none again after a newer one
        for identity, probabilities in client.answers:
            np.testing.assert_allclose(probabilities, trainer.expected[identity], rtol=0, atol=TOLERANCE)
    opinions = [trainer.expected[f"fm/day={day:03d}"] for day in range(1, SWAPS + 3)]
    apart = min(np.abs(one - other).max() for index, one in enumerate(opinions) for other in opinions[:index])
    assert apart > 1_000 * TOLERANCE
