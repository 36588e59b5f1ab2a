"""What the contract of pointers does not ask: the pointer's actor dies, and nothing that it held is lost."""

import uuid
from contextlib import closing
from typing import Any

import pytest
import ray

from exfm_ray.das.cluster_pointer import NAMESPACE, ClusterPointer

pytestmark = pytest.mark.ray


@pytest.fixture
def name(ray_node: None) -> str:
    return f"/test/{uuid.uuid4().hex}"


def test_a_record_outlives_its_actor(name: str) -> None:
    with closing(ClusterPointer(name, patience_seconds=30)) as pointer:
        written = pointer.compare_and_set(None, 3, 100.0)
        ray.kill(ray.get_actor(name, namespace=NAMESPACE))
        assert pointer.read() == written
        ray.kill(ray.get_actor(name, namespace=NAMESPACE))
        changed = pointer.compare_and_set(1, 4, 200.0)
        assert changed is not None
        assert (changed.version, changed.snapshot_day) == (2, 4)


def test_a_change_whose_answer_was_lost_is_not_made_twice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(ClusterPointer(name, patience_seconds=30)) as pointer, closing(ClusterPointer(name, 30)) as other:
        get = ray.get

        def answer_lost(*arguments: Any, **options: Any) -> None:
            get(*arguments, **options)
            monkeypatch.undo()
            raise ray.exceptions.ActorDiedError

        monkeypatch.setattr(ray, "get", answer_lost)
        written = pointer.compare_and_set(None, 3, 100.0)
        assert written is not None
        assert (written.version, written.snapshot_day) == (1, 3)
        assert other.read() == written
