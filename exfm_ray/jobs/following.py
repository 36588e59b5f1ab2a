"""Following a job: what it prints, until it ends, through interruptions of the network."""

import time
from collections.abc import Callable

from ray.job_submission import JobDetails, JobStatus

from exfm_ray.jobs.client import JobClient, answering

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
"""without any answer, before following is given up; the job goes on"""
FAILED, INTERRUPTED = 1, 130


def follow(client: JobClient, address: str, job: str, write: Callable[[str], None]) -> int:
    """Write a job's output as it appears, whole lines at a time, until the job ends.

    Returns:
        its exit code.

    Raises:
        ConnectionError: the cluster did not answer for too long.
    """
    shown, told, heard = 0, "", time.monotonic()
    while True:
        try:
            with answering(address):
                details = client.get_job_info(job)
                output = client.get_job_logs(job)  # after the status, so that an ended job's is complete
        except ConnectionError:
            if time.monotonic() - heard > PATIENCE_SECONDS:
                raise
            time.sleep(POLL_SECONDS)
            continue
        heard, is_over = time.monotonic(), details.status.is_terminal()
        end = len(output) if is_over else output.rfind("\n") + 1
        if end > shown:
            write(output[shown:end])
            shown = end
        if is_over:
            return _exit_code(details, write)
        if details.status == JobStatus.PENDING and details.message and details.message != told:
            told = details.message
            write(f"waiting: {told}\n")
        time.sleep(POLL_SECONDS)


def _exit_code(details: JobDetails, write: Callable[[str], None]) -> int:
    """The command's own; where the cluster ended it, what that says and the nearest code."""
    if details.status == JobStatus.SUCCEEDED:
        return 0
    if details.status == JobStatus.STOPPED:
        write("the job was stopped; the same submission goes on from what is committed\n")
        return INTERRUPTED
    code = details.driver_exit_code
    if code is not None and code > 0:
        return code
    write(f"the job failed: {next(iter((details.message or 'for no known reason').splitlines()), '')}\n")
    return FAILED
