"""Ending a job, and waiting until it has ended."""

import time

from exfm_ray.jobs.client import JobClient, answering, job_details
from exfm_ray.jobs.submission import STOP_SECONDS

MARGIN_SECONDS = 30.0
"""for the cluster to notice that the job has ended"""
POLL_SECONDS = 0.5


def stop(client: JobClient, address: str, job: str) -> str:
    """Ask the job to end and see that it does.

    Returns:
        how it stands, in one line.

    Raises:
        UserError: the cluster has no such job.
        TimeoutError: it is still there.
    """
    details = job_details(client, address, job)
    if details.status.is_terminal():
        return f"{job} had ended before: {details.status.value.lower()}"
    with answering(address):
        client.stop_job(job)
        deadline = time.monotonic() + STOP_SECONDS + MARGIN_SECONDS
        while not (details := client.get_job_info(job)).status.is_terminal():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{job} was told to stop and is still {details.status.value.lower()}")
            time.sleep(POLL_SECONDS)
    return f"{job} has ended: {details.status.value.lower()}"
