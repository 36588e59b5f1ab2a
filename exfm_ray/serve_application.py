"""The FM of a run as an application that a Serve config names, where Serve is run by others (KubeRay's RayService).

import_path: exfm_ray.serve_application:application
args: {run: /shared/runs/quickstart}
"""

from pydantic import BaseModel, ConfigDict
from ray.serve.deployment import Application

from exfm_ray.das.bearer_token import token_digest
from exfm_ray.das.client_token import TOKEN_VARIABLE, read_token
from exfm_ray.das.live_serving import live_application
from exfm_ray.das.request_limits import RequestLimits
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import UserError
from exfm_ray.existing_run import experiment_of
from exfm_ray.serve_run import live_pointer, newest_facts


class ServedRun(BaseModel):
    """What the config's `args` may say."""

    model_config = ConfigDict(extra="forbid")

    run: str
    """run directory, a path or a URI that every node sees"""
    limits: RequestLimits = RequestLimits()


def application(served: ServedRun) -> Application:
    """The newest snapshot behind the door, as `exfm serve`; what a simulation publishes meanwhile takes over.

    Raises:
        UserError: there is no such run, it has no snapshot yet, or the environment has no EXFM_TOKEN.
    """
    experiment = experiment_of(RunDirectory(Location.of(served.run)))
    token = read_token(None, print)
    if token is None:
        raise UserError(f"{TOKEN_VARIABLE}: is missing; clients come over a network, so set the token that they show")
    facts = newest_facts(experiment)
    return live_application(experiment, live_pointer(experiment), facts, served.limits, token_digest(token))
