"""Handing a recipe or a study to a cluster. A job is found again by its run directory: submitting twice goes on."""

import hashlib
import re
import shlex
from dataclasses import dataclass

from pydantic import BaseModel
from ray.job_submission import JobDetails

from exfm_ray.config import StudyConfig
from exfm_ray.errors import UserError
from exfm_ray.jobs.client import JobClient, answering
from exfm_ray.jobs.parcel import RECIPE_FILE, parcel, recipe_text

OUT_KEY, RECIPE_KEY = "exfm_out", "exfm_recipe"
"""of a job's metadata: its run directory, and the digest of its recipe"""
STOP_SECONDS = 30
"""between the signal that asks a job to end, so that it lets go of its replicas, and the one that ends it"""


@dataclass(frozen=True)
class Options:
    """Of `exfm run` or `exfm tune`, as the cluster's nodes take them; None: left out."""

    store: str | None = None
    """of what runs have in common"""
    storage: str | None = None
    """of a study's trials"""
    timeout: float | None = None
    """seconds of a study's search"""

    def arguments(self) -> list[str]:
        given = {"--store": self.store, "--storage": self.storage, "--timeout": self.timeout}
        return [word for name, value in given.items() if value is not None for word in (name, str(value))]


@dataclass(frozen=True)
class Submitted:
    """A job, and whether this submission started it or found it at work."""

    job: str
    is_new: bool


def submit(client: JobClient, address: str, recipe: BaseModel, out: str, options: Options = Options()) -> Submitted:
    """Start a job for a run directory, or find the one that is already at work there.

    Args:
        recipe: of a run, or a study.
        out: the run directory as the cluster's nodes see it.

    Raises:
        UserError: a job with another recipe is at work there.
    """
    digest = hashlib.sha256(recipe_text(recipe).encode()).hexdigest()
    with answering(address):
        earlier = _jobs_of(client, out)
        if (working := _at_work(earlier)) is not None:
            return _found(working, digest, address, out)
        job = f"{_prefix(out)}{1 + max(map(_attempt, earlier), default=0)}"
        with parcel(recipe) as directory:
            try:
                client.submit_job(
                    submission_id=job,
                    entrypoint=_entrypoint(recipe, out, options),
                    runtime_env={
                        "working_dir": str(directory),
                        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
                    },
                    metadata={OUT_KEY: out, RECIPE_KEY: digest},
                )
            except RuntimeError:
                working = _at_work(_jobs_of(client, out))  # somebody else was faster
                if working is None:
                    raise
                return _found(working, digest, address, out)
    return Submitted(job, is_new=True)


def _entrypoint(recipe: BaseModel, out: str, options: Options) -> str:
    command = "tune" if isinstance(recipe, StudyConfig) else "run"
    arguments = [command, RECIPE_FILE, "--out", out, "--address", "auto", *options.arguments()]
    return f"exec python -m exfm_ray.cli {shlex.join(arguments)}"


def _found(working: JobDetails, digest: str, address: str, out: str) -> Submitted:
    job = str(working.submission_id)
    if (working.metadata or {}).get(RECIPE_KEY) != digest:
        raise UserError(
            f"--out: the job {job} works in {out} with another recipe; name another directory, wait for it, or end it: "
            f"exfm job stop {job} --address {address}"
        )
    return Submitted(job, is_new=False)


def _prefix(out: str) -> str:
    """Of the names of a run directory's jobs."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", out.partition("?")[0].rstrip("/").rsplit("/", 1)[-1])[:40]
    return f"exfm-{readable}-{hashlib.sha256(out.encode()).hexdigest()[:8]}-"


def _jobs_of(client: JobClient, out: str) -> list[JobDetails]:
    return [job for job in client.list_jobs() if (job.submission_id or "").startswith(_prefix(out))]


def _at_work(jobs: list[JobDetails]) -> JobDetails | None:
    return next((job for job in jobs if not job.status.is_terminal()), None)


def _attempt(job: JobDetails) -> int:
    number = str(job.submission_id).rsplit("-", 1)[-1]
    return int(number) if number.isdigit() else 0
