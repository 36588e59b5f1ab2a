"""Bringing a run's results home by the job API alone: no mount, no credentials of a bucket, no other port."""

import base64
import gzip
import hashlib
import json
import shlex
import time
import uuid
from pathlib import Path

from ray.job_submission import JobDetails

from exfm_ray.data.location import Location
from exfm_ray.errors import DataError, UserError
from exfm_ray.jobs.client import JobClient, answering
from exfm_ray.jobs.parcel import parcel
from exfm_ray.jobs.sending import FILE_KEY
from exfm_ray.jobs.submission import OUT_KEY

FETCH_SECONDS = 300.0
"""for the cluster to start a process that reads the files"""
POLL_SECONDS = 0.5
OF_A_RUN = ("recipe.yaml", "results.jsonl", "report/index.html")
OF_A_STUDY = ("study.db", "trials.jsonl", "chosen.json", *(f"simulation/{name}" for name in OF_A_RUN))
FILES = (*OF_A_RUN, *OF_A_STUDY)


def fetch(client: JobClient, address: str, job: JobDetails, directory: Path) -> list[Path]:
    """Write what the job's run has of its recipe, results and report, or its study has found, into a local directory.

    Raises:
        UserError: the job is none of ours, or its run has no results yet. Nothing is written.
        DataError: a file did not arrive as it was sent.
    """
    out = (job.metadata or {}).get(OUT_KEY)
    if out is None:
        raise UserError(f"JOB: {job.submission_id!r} was not started by exfm submit; give one that was")
    files = received(_sent(client, address, out))
    if "results.jsonl" not in files:
        raise UserError(
            f"JOB: the run of {job.submission_id} in {out} has no results yet; wait until the job has ended"
        )
    for name, content in files.items():
        Location.of(str(directory / name)).write(content)
    return [directory / name for name in files]


def received(output: str) -> dict[str, bytes]:
    """The files in what `sending` printed, among other lines, by their names in the run.

    Raises:
        DataError: a content is not the one that was sent.
    """
    files: dict[str, bytes] = {}
    for line in output.splitlines():
        if not line.startswith(f'{{"{FILE_KEY}"'):
            continue
        try:
            sent = json.loads(line)
            name, content = sent[FILE_KEY], gzip.decompress(base64.b64decode(sent["content"]))
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"what the cluster sent is torn ({error}); fetch it again") from error
        if name not in FILES:
            raise DataError(f"the cluster sent {name!r}, which is none of {', '.join(FILES)}")
        if hashlib.sha256(content).hexdigest() != sent["sha256"]:
            raise DataError(f"{name} did not arrive as it was sent; fetch it again")
        files[name] = content
    return files


def _sent(client: JobClient, address: str, out: str) -> str:
    """What `sending` prints on the cluster."""
    name = f"fetch-{uuid.uuid4().hex[:8]}"
    with answering(address):
        with parcel(None) as package:
            client.submit_job(
                submission_id=name,
                entrypoint=f"exec python -m exfm_ray.jobs.sending {shlex.quote(out)}",
                runtime_env={"working_dir": str(package)},
            )
        deadline = time.monotonic() + FETCH_SECONDS
        while not (details := client.get_job_info(name)).status.is_terminal():
            if time.monotonic() > deadline:
                client.stop_job(name)
                raise TimeoutError(f"the cluster started no process that reads {out} within {FETCH_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        output = str(client.get_job_logs(name))
    if details.driver_exit_code != 0:
        last = next(reversed(output.strip().splitlines()), details.message or "")
        raise RuntimeError(f"the cluster cannot read {out}: {last}")
    return output
