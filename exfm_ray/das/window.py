"""How much of the feedback window the FM's inference used: a day replayed at its own pace, with measured work.

A simulation supervises a day as fast as it can. What that work would have meant live is a pure function of when the
events happened and how long the FM worked on each request.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from exfm_ray.data.commit import Made

MILLISECONDS = 1_000
MOST_PIECES = 4_096
"""A denser day has more requests; beyond so many of them each stands for several."""
DENSITIES = 32
REFINEMENTS = 12
HALVINGS = 60

Floats = NDArray[np.float64]


class RequestTime(BaseModel):
    """One request to the FM, as measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_event: int
    """event time of its first row, milliseconds"""
    last_event: int
    """event time of its last row, milliseconds"""
    rows: int = Field(ge=1)
    seconds: float = Field(ge=0)
    """that the FM worked on it"""


def measured_of(requests: Sequence[RequestTime], replicas: int) -> dict[str, Any]:
    """What a side-car's manifest records as measured: the requests as columns, and how many replicas there were."""
    columns = {name: [getattr(request, name) for request in requests] for name in RequestTime.model_fields}
    return {"requests": columns, "replicas": replicas}


@dataclass(frozen=True)
class Requests:
    """Requests in the order in which they are ready, (n,) each; times in seconds."""

    first_event: Floats
    last_event: Floats
    rows: Floats
    seconds: Floats
    replicas: int

    @classmethod
    def of(cls, requests: Sequence[RequestTime], replicas: int) -> "Requests":
        ordered = sorted(requests, key=lambda request: request.last_event)
        return cls(
            first_event=np.array([request.first_event / MILLISECONDS for request in ordered]),
            last_event=np.array([request.last_event / MILLISECONDS for request in ordered]),
            rows=np.array([float(request.rows) for request in ordered]),
            seconds=np.array([request.seconds for request in ordered]),
            replicas=replicas,
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def work(self) -> float:
        """Seconds of FM work in all."""
        return float(self.seconds.sum())

    def denser(self, times: float) -> "Requests":
        """The same day with `times` as many rows: every request becomes as many of its size, spread over its span."""
        pieces = min(math.ceil(times), max(MOST_PIECES // len(self), 1))
        edges = self.first_event[:, None] + (self.last_event - self.first_event)[:, None] * (
            np.arange(pieces + 1) / pieces
        )
        order = np.argsort(edges[:, 1:], axis=None, kind="stable")
        return Requests(
            first_event=edges[:, :-1].reshape(-1)[order],
            last_event=edges[:, 1:].reshape(-1)[order],
            rows=np.repeat(self.rows * times / pieces, pieces)[order],
            seconds=np.repeat(self.seconds * times / pieces, pieces)[order],
            replicas=self.replicas,
        )

    def answered(self) -> Floats:
        """(n,) when each request is answered: the first free replica takes it once its last row is there."""
        free = [-math.inf] * self.replicas
        answered = np.empty(len(self))
        for index, (ready, seconds) in enumerate(zip(self.last_event.tolist(), self.seconds.tolist(), strict=True)):
            answered[index] = max(ready, free[0]) + seconds
            heapq.heapreplace(free, answered[index])
        return answered


def measured_requests(made: Sequence[Made]) -> Requests | None:
    """The requests that manifests of side-cars recorded, of one day or of several; None where one recorded none."""
    found: list[RequestTime] = []
    replicas = 1
    for recorded in made:
        if not recorded.measured.get("requests", {}).get("rows"):
            return None
        columns = recorded.measured["requests"]
        rows = zip(*(columns[name] for name in RequestTime.model_fields), strict=True)
        found += [RequestTime(**dict(zip(RequestTime.model_fields, row, strict=True))) for row in rows]
        replicas = int(recorded.measured["replicas"])
    return Requests.of(found, replicas) if found else None


@dataclass(frozen=True)
class WindowUse:
    """Time from an event to the FM's answer about it, over rows, in seconds."""

    window: float
    p50: float
    p99: float
    answer_p99: float
    """from a request's last event to its answer: queue and work, without the wait for the request to fill"""
    hidden: float
    """share of the FM's work on requests all of whose rows were answered inside the window"""
    most_traffic: float | None
    """how many times as many rows the day could have before p99 leaves the window or the FM no longer keeps up with
    the day; None where neither the day as it is fits nor a denser one"""

    @property
    def head_room(self) -> float:
        return self.window - self.p99


def window_use(requests: Requests, window: float) -> WindowUse:
    """Replay the requests at the pace of their events.

    The rows of a request are taken as spread evenly from its first event to its last.

    Args:
        window: seconds, the shortest of the tasks'.
    """
    answered = requests.answered()
    least, most = answered - requests.last_event, answered - requests.first_event
    return WindowUse(
        window=window,
        p50=_quantile(least, most, requests.rows, 0.50),
        p99=_quantile(least, most, requests.rows, 0.99),
        answer_p99=_quantile(least, least, requests.rows, 0.99),
        hidden=float(requests.seconds[most <= window].sum() / requests.work) if requests.work else 1.0,
        most_traffic=_most_traffic(requests, window),
    )


def head_room(requests: Requests, window: float) -> float:
    """What the FM leaves of the window at p99, in seconds; `window_use` alone of it, and quick.

    Args:
        window: seconds, the shortest of the tasks'.
    """
    answered = requests.answered()
    least, most = answered - requests.last_event, answered - requests.first_event
    return window - _quantile(least, most, requests.rows, 0.99)


def _share_within(least: Floats, most: Floats, rows: Floats, seconds: float) -> float:
    """The share of all rows that are at most `seconds`; each request's lie evenly from `least` to `most`."""
    span = most - least
    spread = np.clip((seconds - least) / np.where(span > 0, span, 1.0), 0.0, 1.0)
    return float((np.where(span > 0, spread, seconds >= least) * rows).sum() / rows.sum())


def _quantile(least: Floats, most: Floats, rows: Floats, share: float) -> float:
    """The value within which a share of all rows lies."""
    low, high = float(least.min()), float(most.max())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _share_within(least, most, rows, middle) >= share else (middle, high)
    return high


def _most_traffic(requests: Requests, window: float) -> float | None:
    """Search down from where the FM is busy all the time."""
    span = float(requests.last_event.max() - requests.first_event.min())
    if not requests.work or requests.replicas * span < requests.work:
        return None

    def fits(times: float) -> bool:
        denser = requests.denser(times)
        answered = denser.answered()
        least, most = answered - denser.last_event, answered - denser.first_event
        return _share_within(least, most, denser.rows, window) >= 0.99

    too_much = math.inf
    for times in np.geomspace(requests.replicas * span / requests.work, 1.0, DENSITIES).tolist():
        if fits(times):
            break
        too_much = times
    else:
        return None
    if math.isinf(too_much):
        return float(times)
    for _ in range(REFINEMENTS):
        middle = math.sqrt(times * too_much)
        times, too_much = (middle, too_much) if fits(middle) else (times, middle)
    return float(times)
