"""Runs on the cluster: prints what a run or a study has found, for the one who fetches it.

python -m exfm_ray.jobs.sending RUN
"""

import base64
import gzip
import hashlib
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing

from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import STUDY_FILE, RunDirectory

FILE_KEY = "exfm_file"


def lines(run: RunDirectory) -> Iterator[str]:
    """One JSON object per file that is there: its name in the run, its digest, and its content, packed."""
    for place in files(run):
        if place.is_file():
            content = database(place) if place.name == STUDY_FILE else place.read()
            yield json.dumps(
                {
                    FILE_KEY: str(place).partition("?")[0].removeprefix(str(run.root).partition("?")[0]).lstrip("/"),
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "content": base64.b64encode(gzip.compress(content, mtime=0)).decode(),
                }
            )


def files(run: RunDirectory) -> list[Location]:
    """What of a run is worth the way; of a study also its trials, the chosen point, and the run beside them."""
    own = [run.recipe_file, run.results_file, run.report_file]
    if not run.is_of_a_study():
        return own
    beside = run.simulation
    own += [run.root / STUDY_FILE, run.trials_file, run.chosen_file]
    return [*own, beside.recipe_file, beside.results_file, beside.report_file]


def database(place: Location) -> bytes:
    """A database on this machine as it is after its last transaction, whoever writes into it meanwhile."""
    with closing(sqlite3.connect(place.uri)) as held, closing(sqlite3.connect(":memory:")) as copy:
        held.backup(copy)
        return copy.serialize()


if __name__ == "__main__":
    for line in lines(RunDirectory(Location.of(sys.argv[1]))):
        print(line)
