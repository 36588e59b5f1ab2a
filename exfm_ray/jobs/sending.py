"""Runs on the cluster: prints a run's results, recipe and report for the one who fetches them.

python -m exfm_ray.jobs.sending RUN
"""

import base64
import gzip
import hashlib
import json
import sys
from collections.abc import Iterator

from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory

FILE_KEY = "exfm_file"


def lines(run: RunDirectory) -> Iterator[str]:
    """One JSON object per file that is there: its name in the run, its digest, and its content, packed."""
    for place in (run.recipe_file, run.results_file, run.report_file):
        if place.is_file():
            content = place.read()
            yield json.dumps(
                {
                    FILE_KEY: str(place).partition("?")[0].removeprefix(str(run.root).partition("?")[0]).lstrip("/"),
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "content": base64.b64encode(gzip.compress(content, mtime=0)).decode(),
                }
            )


if __name__ == "__main__":
    for line in lines(RunDirectory(Location.of(sys.argv[1]))):
        print(line)
