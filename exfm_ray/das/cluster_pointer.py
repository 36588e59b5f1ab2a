"""The latest pointer in a Ray cluster itself, for runs whose directory is no file system that all nodes lock.

One actor at a time, on the head node, keeps an embedded pointer in a directory there. Whoever needs it first starts it;
it ends with who started it, the next one starts it again, and the record stays in the directory.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError

from exfm_ray.das.embedded_pointer import EmbeddedPointer
from exfm_ray.das.pointer import PointerRecord, PointerUnavailableError

NAMESPACE = "exfm_ray"
"""of the actors' names; Serve's replicas and the driver have others of their own"""
ON_THE_HEAD = {"node:__internal_head__": 0.001}
PAUSE_SECONDS = 0.2


class PointerKeeper:
    """The actor: it answers one call after the other.

    Args:
        name: of the pointer, a path of one or more names.
    """

    def __init__(self, name: str) -> None:
        self._pointer = EmbeddedPointer(str(Path(tempfile.gettempdir()) / "exfm_ray-pointers" / name.strip("/")))

    def read(self) -> PointerRecord | None:
        return self._pointer.read()

    def compare_and_set(
        self, expected_version: int | None, snapshot_day: int, lease_until: float
    ) -> PointerRecord | None:
        return self._pointer.compare_and_set(expected_version, snapshot_day, lease_until)


class ClusterPointer:
    """A pointer that every process of a cluster reaches. The actor is looked for at the first operation.

    Args:
        name: of the pointer, unique in the cluster.
        patience_seconds: for one operation.
    """

    def __init__(self, name: str, patience_seconds: float) -> None:
        self._name, self._patience = name, patience_seconds
        self._keeper: Any = None  # the actor's handle, once it is found

    def read(self) -> PointerRecord | None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._ask(deadline, "read")
            except RayActorError:
                self._start_again(deadline)

    def compare_and_set(
        self, expected_version: int | None, snapshot_day: int, lease_until: float
    ) -> PointerRecord | None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._ask(deadline, "compare_and_set", expected_version, snapshot_day, lease_until)
            except RayActorError:  # the answer is lost, but the change may have been made
                self._start_again(deadline)
                held = self.read()
                made = (expected_version or 0) + 1, snapshot_day, lease_until
                if held is not None and (held.version, held.snapshot_day, held.lease_until) == made:
                    return held

    def close(self) -> None:
        self._keeper = None

    def _ask(self, deadline: float, operation: str, *arguments: Any) -> PointerRecord | None:
        """Raises RayActorError: the actor died."""
        method = getattr(self._found(), operation)
        try:
            answer: PointerRecord | None = ray.get(
                method.remote(*arguments), timeout=max(deadline - time.monotonic(), 0.0)
            )
        except GetTimeoutError as error:
            raise self._unavailable() from error
        return answer

    def _start_again(self, deadline: float) -> None:
        """Forget the actor that died."""
        if time.monotonic() > deadline:
            raise self._unavailable()
        self._keeper = None
        time.sleep(PAUSE_SECONDS)

    def _found(self) -> Any:
        assert ray.is_initialized(), "Ray would start a cluster of its own here"
        if self._keeper is None:
            self._keeper = (
                ray.remote(PointerKeeper)
                .options(name=self._name, namespace=NAMESPACE, get_if_exists=True, num_cpus=0, resources=ON_THE_HEAD)
                .remote(self._name)
            )
        return self._keeper

    def _unavailable(self) -> PointerUnavailableError:
        return PointerUnavailableError(
            f"The pointer {self._name!r} on the cluster's head did not answer within {self._patience:g} s."
        )
