"""The drivers that share a study: each gives signs of life in the study's storage, and waits for the others' trials."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from optuna.exceptions import StorageInternalError
from optuna.study import Study
from optuna.trial import TrialState

from exfm_ray.waits import pause

DRIVER = "driver"
"""a trial's attribute: who trains it"""
SIGN_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""without a sign, after which a driver is taken to be gone; of the reader's clock alone, since others may differ"""
LOOK_SECONDS = 1.0


@contextmanager
def giving_signs(study: Study, driver: str) -> Iterator[None]:
    """Tell other drivers, from a thread, that this one is at work."""
    over = threading.Event()

    def give() -> None:
        while True:
            with suppress(StorageInternalError):  # busy or away for a moment; the next sign will do
                study.set_user_attr(_sign(driver), time.time())
            if over.wait(SIGN_SECONDS):
                return

    thread = threading.Thread(target=give, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def wait_for_others(study: Study, driver: str, deadline: float | None, tell: Callable[[str], None]) -> None:
    """Wait until the trials of other drivers have ended, so that all choose from the same ones.

    A driver that gives no sign is not waited for: its trials stay open, until it is started again.

    Args:
        deadline: on time.monotonic's clock; None: no limit.
        tell: says a line to the user.
    """
    changed: dict[str, tuple[object, float]] = {}
    at_work: list[str] = []
    has_told = False
    while others := _trials_of_others(study, driver):
        now, signs = time.monotonic(), study.user_attrs
        for other in others:
            sign = signs.get(_sign(other))
            if other not in changed or changed[other][0] != sign:
                changed[other] = sign, now
        at_work = [other for other in others if now - changed[other][1] <= SILENT_SECONDS]
        if not at_work or (deadline is not None and now >= deadline):
            break
        if not has_told:
            tell(f"waiting for {_words(sum(others[other] for other in at_work))} of {', '.join(sorted(at_work))}")
            has_told = True
        pause(LOOK_SECONDS)
    for other, count in sorted(others.items()):
        reason = "is still at work" if other in at_work else "gives no sign; the same command goes on there"
        tell(f"left open: {_words(count)} of {other or 'nobody'}, which {reason}")


def _trials_of_others(study: Study, driver: str) -> Counter[str]:
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    owners = (trial.user_attrs.get(DRIVER, "") for trial in running)
    return Counter(owner for owner in owners if owner != driver)


def _words(trials: int) -> str:
    return f"{trials} trial{'' if trials == 1 else 's'}"


def _sign(driver: str) -> str:
    return f"sign of {driver}"
