"""Ray's job API at the head of a cluster: every wait has an end, and what it refuses is told in one line."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from exfm_ray.errors import UserError

CONNECT_SECONDS = 10.0
"""for a head that listens; Ray itself would wait much longer"""
REQUEST_SECONDS = 60.0
"""for one answer; sending the package and reading a job's whole output included"""
ADDRESS_VARIABLES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
CHATTY_LOGGERS = ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")
TOKEN_MEND = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the cluster's"


class JobClient(JobSubmissionClient):
    """Ray's, which would wait for ever for a head that has stopped to answer."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        response: requests.Response = super()._do_request(method, endpoint, timeout=REQUEST_SECONDS, **options)
        return response


def open_client(address: str) -> JobClient:
    """Knock at the dashboard of a cluster's head.

    Args:
        address: such as `http://10.0.0.1:8265`.

    Raises:
        UserError: it has another form, nobody answers there, or whoever does is no Ray or wants another token.
    """
    scheme, separator, place = address.rstrip("/").partition("://")
    if not separator or scheme not in ("http", "https") or not place or "/" in place:
        raise UserError(
            f"--address: {address!r} is no place of Ray's job API; give the dashboard of the head node, such as "
            "http://127.0.0.1:8265"
        )
    _knock(scheme, place, address)
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    with answering(address), _address_as_given():
        return JobClient(f"{scheme}://{place}")


def _knock(scheme: str, place: str, address: str) -> None:
    """Raises UserError: nobody listens there."""
    parts = urlsplit(f"{scheme}://{place}")
    try:
        port = parts.port or (443 if scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UserError(f"--address: nobody answers at {address!r} ({error}); give a running cluster's") from error


def job_details(client: JobClient, address: str, job: str) -> JobDetails:
    """What the cluster knows of a job.

    Raises:
        UserError: it knows none of that name.
    """
    with answering(address):
        known = {details.submission_id: details for details in client.list_jobs()}
    if job not in known:
        ours = sorted(name for name in known if name and name.startswith("exfm-"))
        choices = f"it has {', '.join(ours)}" if ours else "it has none of exfm's"
        raise UserError(f"JOB: {job!r} is no job of the cluster at {address}; {choices}")
    return known[job]


@contextmanager
def answering(address: str) -> Iterator[None]:
    """Tell what the cluster refuses in the block in one line.

    Raises:
        UserError: it wants another token, or is no Ray.
        ConnectionError: it does not answer any more.
    """
    try:
        yield
    except AuthenticationError as error:
        given = "asks for a token" if "required" in str(error) else "does not know the token that it was shown"
        raise UserError(f"--address: the cluster at {address} {given}; {TOKEN_MEND}") from error
    except (requests.exceptions.JSONDecodeError, requests.exceptions.HTTPError, KeyError) as error:
        raise UserError(f"--address: who answers at {address} is no Ray; give the head node's dashboard") from error
    except requests.exceptions.RequestException as error:
        raise ConnectionError(f"the cluster at {address} does not answer ({type(error).__name__})") from error


@contextmanager
def _address_as_given() -> Iterator[None]:
    """Ray would prefer what its environment variables name to the address that the user wrote."""
    held = {name: os.environ.pop(name) for name in ADDRESS_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)
