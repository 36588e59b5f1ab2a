"""The FM for clients outside of Ray: its newest snapshot behind the door, for as long as a block runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray import serve
from ray.serve.deployment import Application
from starlette.types import ASGIApp

from exfm_ray.das.deployment import FoundationModel, foundation_model, run_until_ready
from exfm_ray.das.door import door
from exfm_ray.das.request_limits import RequestLimits
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.snapshots import SnapshotFacts
from exfm_ray.errors import UserError

FIRST_ANSWER_SECONDS = 5.0
"""a client waits no longer for a snapshot to be loaded"""
REQUESTS_AT_THE_DOOR = 1_024
"""many more than the door takes: it must see a request to turn it away, or the proxy would hold its body meanwhile"""
REQUEST_SECONDS = 120.0
"""a request that takes longer, in sending its body too, is ended by the proxy with 408"""


@dataclass(frozen=True)
class Entrance:
    """Who is let in, and with how much."""

    host: str
    port: int
    limits: RequestLimits
    digest: bytes | None
    """`token_digest` of the token that clients must show; None lets everyone in"""


@contextmanager
def live_serving(experiment: Experiment, pointer: str, facts: SnapshotFacts, entrance: Entrance) -> Iterator[Any]:
    """Replicas of the FM and the door before them, which listens on the cluster's head node.

    Args:
        pointer: address of the latest pointer, as `pointer_at` takes it; the snapshot that it names answers.
        facts: of any of the snapshots; what they read and predict is the same.

    Yields:
        the handle of the FM.

    Raises:
        UserError: the cluster serves this run already.
        WaitError: as `run_until_ready`.
    """
    name = f"{experiment.name}-live"
    http = {"host": entrance.host, "port": entrance.port, "request_timeout_s": REQUEST_SECONDS}
    serve.start(proxy_location="HeadOnly", http_options=http)
    if name in serve.status().applications:
        raise UserError(f"RUN: the cluster serves {experiment.root} already; stop the other `exfm serve` first")
    application = live_application(experiment, pointer, facts, entrance.limits, entrance.digest)
    try:
        run_until_ready(application, name, "/", experiment.recipe.resources)
        yield serve.get_deployment_handle(FoundationModel.__name__, name)
    finally:
        if serve.status().applications.keys() - {name}:
            serve.delete(name)
        else:  # the port stays open for as long as Serve runs
            serve.shutdown()  # type: ignore[no-untyped-call]


def live_application(
    experiment: Experiment, pointer: str, facts: SnapshotFacts, limits: RequestLimits, digest: bytes | None
) -> Application:
    """The FM's replicas behind the door, ready to be deployed.

    Args:
        pointer: address of the latest pointer, as `pointer_at` takes it; the snapshot that it names answers.
        facts: of any of the snapshots; what they read and predict is the same.
        digest: `token_digest` of the token that clients must show; None lets everyone in.
    """

    def build() -> ASGIApp:
        handle = serve.get_deployment_handle(FoundationModel.__name__)
        return door(handle, facts.inputs, facts.tasks, limits, digest)

    deployment: Any = serve.deployment(
        serve.ingress(build)(),
        name="Door",
        num_replicas=1,
        max_ongoing_requests=REQUESTS_AT_THE_DOOR,
        ray_actor_options={"num_cpus": 0},
    )
    application: Application = deployment.bind(_model(experiment, pointer))
    return application


def _model(experiment: Experiment, pointer: str) -> Application:
    das = experiment.recipe.das
    patience = min(das.swap_timeout_seconds, FIRST_ANSWER_SECONDS)
    return foundation_model(experiment, pointer, das.model_copy(update={"swap_timeout_seconds": patience}), latest=True)
