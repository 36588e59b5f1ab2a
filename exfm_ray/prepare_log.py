"""`exfm prepare`: a raw log becomes day partitions that recipes point at."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from exfm_ray.config import RawLogData, TableData
from exfm_ray.data.commit import require
from exfm_ray.data.dataset import SOURCE_FILE, raw_log
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import SCHEMA_FILE, committed_days
from exfm_ray.data.prepare import WORK, Spread, prepare
from exfm_ray.data.source import StagedSource, most_pieces
from exfm_ray.errors import UserError
from exfm_ray.progress import day_phases, watching

SUMMARY_FILE = "summary.json"


FEW_PIECES = 4
"""of a log; so many are read in one process in about the time that it takes to start others"""


@contextmanager
def processes_for(config: RawLogData, address: str | None, logs: Path) -> Iterator[Spread]:
    """Yields how to map the work on a log: in this process, or over a cluster's where the log has pieces for them.

    Args:
        address: of a Ray cluster; None starts one on this machine, unless the pieces are few.

    Raises:
        UserError: the log lacks something, or the cluster cannot be reached.
    """
    if most_pieces(raw_log(config)) <= (FEW_PIECES if address is None else 1):
        yield map
        return
    from exfm_ray.cluster import task_cluster

    with task_cluster(address, logs) as spread:
        yield spread


def prepare_log(
    config: RawLogData, out: Location, spread: Spread = map, console: Console | None = None
) -> Iterator[str]:
    """Prepare what is missing; yields lines for the user.

    Args:
        spread: maps the work over processes.
        console: where progress is shown; None: nowhere.

    Raises:
        UserError: the log lacks something, or `out` holds days that were prepared with other settings.
    """
    if isinstance(config, TableData) and _is_in(out, Location.of(config.path)):
        raise UserError(f"--out: {out} is among the files of {config.path}, and would be read as such; name another")
    if config.path is not None:  # the same directory, however it is named
        config = config.model_copy(update={"path": Location.of(config.path).uri})
    source = raw_log(config)
    settings = config.model_dump_json(indent=1).encode()
    place = out / SOURCE_FILE
    if place.is_file() and place.read() != settings:
        if committed_days(out):
            raise UserError(f"--out: {out} holds days prepared with other settings ({place}); name another directory")
        # the settings were corrected before any day was there
        for made in (place, out / SCHEMA_FILE, out / WORK):
            made.delete()
    elif not place.is_file() and out.children():
        raise UserError(f"--out: {out} is not empty and holds no prepared data; name another directory")
    place.write(settings)
    with watching(day_phases(source, out), console or Console(quiet=True)):
        prepare(source, out, spread=spread)
    work = out / WORK
    if not (out / SUMMARY_FILE).is_file():
        summary = (source.over(work) if isinstance(source, StagedSource) else source).summary()
        (out / SUMMARY_FILE).write(json.dumps(summary, indent=1).encode())
    work.delete()
    told: dict[str, Any] = json.loads((out / SUMMARY_FILE).read())
    for name, value in told.items():
        yield f"{name}: {value}"
    rows = sum(require(out.day(day)).rows for day in range(1, source.days + 1))
    yield f"prepared {source.days} days, {rows} rows: {out}"


def _is_in(place: Location, directory: Location) -> bool:
    """Whether a place is a directory or in it; the options of a URI, behind its `?`, do not count."""
    inner, outer = (str(location).partition("?")[0] for location in (place, directory))
    return f"{inner}/".startswith(f"{outer}/")
