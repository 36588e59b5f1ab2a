"""Who asks the FM outlasts replicas that die and a service that is busy, within bounds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError

from exfm_ray.das.asking import TRIES, answer_to
from exfm_ray.das.batching import BusyError


@dataclass
class Service:
    """Answers after some outcomes of another kind."""

    before: list[Exception]
    asked: int = 0
    pauses: list[float] = field(default_factory=list)

    def ask(self) -> "Response":
        self.asked += 1
        outcome = self.before.pop(0) if self.before else "answer"
        return Response(outcome)

    def answer(self, patience_seconds: float = 60.0) -> Any:
        return answer_to(self.ask(), self.ask, patience_seconds, self.pauses.append)


@dataclass
class Response:
    outcome: Exception | str

    def result(self) -> str:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_an_answer_is_returned_at_once() -> None:
    service = Service([])
    assert service.answer() == "answer"
    assert service.asked == 1
    assert service.pauses == []


@pytest.mark.parametrize("busy", [lambda: BusyError("20 rows wait"), lambda: BackPressureError(3, 2)])
def test_a_busy_service_is_asked_again_after_pauses_that_grow(busy: Callable[[], Exception]) -> None:
    service = Service([busy() for _ in range(8)])
    assert service.answer() == "answer"
    assert service.asked == 9
    assert service.pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_a_service_that_stays_busy_is_given_up_in_the_end() -> None:
    service = Service([BusyError("20 rows wait") for _ in range(1_000)])
    with pytest.raises(BusyError):
        service.answer(patience_seconds=3.0)
    assert 3.0 <= sum(service.pauses) < 5.0


def test_a_replica_that_died_is_followed_by_another_at_once() -> None:
    service = Service([RayActorError() for _ in range(TRIES - 1)])
    assert service.answer() == "answer"
    assert service.pauses == []


def test_replicas_that_all_die_over_a_request_are_told() -> None:
    service = Service([RayActorError() for _ in range(TRIES)])
    with pytest.raises(RayActorError):
        service.answer()
    assert service.asked == TRIES


def test_busy_times_do_not_use_up_the_tries() -> None:
    before: list[Exception] = []
    for _ in range(TRIES - 1):
        before += [RayActorError(), BusyError("20 rows wait"), BusyError("20 rows wait")]
    assert Service(before).answer() == "answer"


def test_another_failure_is_told_at_once() -> None:
    service = Service([ValueError("no such column")])
    with pytest.raises(ValueError, match="no such column"):
        service.answer()
    assert service.asked == 1
