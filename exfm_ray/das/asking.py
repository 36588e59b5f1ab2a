"""The answer to a request, asked for again where the service was not able to give it."""

import time
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError

from exfm_ray.das.batching import BusyError

TRIES = 5
"""with replicas that die; Serve replaces a replica, so the next try meets another"""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0
PATIENCE_SECONDS = 600.0
"""with a service that is busy"""


def answer_to(
    response: Any,
    ask_again: Callable[[], Any],
    patience_seconds: float = PATIENCE_SECONDS,
    pause: Callable[[float], None] = time.sleep,
) -> Any:
    """The result of a request to the FM.

    A service that is busy is asked again after a pause that doubles each time, a replica that died at once.

    Args:
        response: with `result()`, such as a Serve handle gives.
        ask_again: sends the request anew.
        patience_seconds: for all pauses together.

    Raises:
        BusyError, BackPressureError: the service stayed busy for longer.
        RayActorError: replicas died over it TRIES times.
    """
    deaths, seconds, waited = 0, FIRST_PAUSE_SECONDS, 0.0
    while True:
        try:
            return response.result()
        except RayActorError:
            deaths += 1
            if deaths == TRIES:
                raise
        except (BusyError, BackPressureError):
            if waited >= patience_seconds:
                raise
            pause(seconds)
            waited += seconds
            seconds = min(2 * seconds, LONGEST_PAUSE_SECONDS)
        response = ask_again()
