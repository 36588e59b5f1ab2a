"""What is counted while a reader's own table is scattered, and the summary that it gives."""

import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from exfm_ray.config import TableData
from exfm_ray.data.commit import CommittedFile, read_file, require, write_named_file
from exfm_ray.data.location import Location
from exfm_ray.data.logs.distinct import DistinctSketch
from exfm_ray.data.table.plan import Plan

HOUR_SECONDS = 3_600
DAY_SECONDS = 24 * HOUR_SECONDS
TALLY_FILE = "tally.parquet"
KINDS = ("rows", "positives", "known_delays", "beyond_an_hour", "beyond_a_day", "filled")


@dataclass
class Tally:
    """What was seen in some rows; tallies of pieces add up."""

    rows: Counter[str] = field(default_factory=Counter)
    """read, kept, and dropped by reason"""
    positives: Counter[str] = field(default_factory=Counter)
    """by task, as the next three"""
    known_delays: Counter[str] = field(default_factory=Counter)
    beyond_an_hour: Counter[str] = field(default_factory=Counter)
    beyond_a_day: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    """missing values by feature, in all rows read"""
    distinct: dict[str, DistinctSketch] = field(default_factory=dict)
    """by categorical feature"""

    def add(self, other: "Tally") -> None:
        for kind in KINDS:
            getattr(self, kind).update(getattr(other, kind))
        for name, sketch in other.distinct.items():
            self.add_distinct(name, sketch)

    def add_distinct(self, name: str, sketch: DistinctSketch) -> None:
        self.distinct[name] = self.distinct[name].merged(sketch) if name in self.distinct else sketch

    def add_answers(self, task: str, positive: NDArray[np.bool_], delays: NDArray[np.float64]) -> None:
        """
        Args:
            task: name of the task.
            positive: (N,) of each row.
            delays: (M,) seconds of the positives whose delay is known.
        """
        self.positives[task] += int(positive.sum())
        self.known_delays[task] += len(delays)
        self.beyond_an_hour[task] += int((delays > HOUR_SECONDS).sum())
        self.beyond_a_day[task] += int((delays > DAY_SECONDS).sum())


def write_tally(directory: Location, tally: Tally) -> CommittedFile:
    """A row per count, and one per sketch."""
    rows = [
        {"kind": kind, "name": name, "count": count, "smallest": None}
        for kind in KINDS
        for name, count in getattr(tally, kind).items()
    ]
    rows += [
        {"kind": "distinct", "name": name, "count": 0, "smallest": sketch.smallest}
        for name, sketch in tally.distinct.items()
    ]
    schema = pa.schema(
        {"kind": pa.string(), "name": pa.string(), "count": pa.int64(), "smallest": pa.list_(pa.uint64())}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return write_named_file(directory, TALLY_FILE, sink.getvalue().to_pybytes())


def read_tally(directory: Location) -> Tally:
    (file,) = (file for file in require(directory).files if file.name == TALLY_FILE)
    tally = Tally()
    for row in pq.read_table(io.BytesIO(read_file(directory, file))).to_pylist():
        if row["kind"] == "distinct":
            tally.add_distinct(row["name"], DistinctSketch(np.array(row["smallest"], dtype=np.uint64)))
        else:
            getattr(tally, row["kind"])[row["name"]] += row["count"]
    return tally


def summarize(config: TableData, tally: Tally, plan: Plan) -> dict[str, Any]:
    """The summary of a whole table."""
    rows = tally.rows.pop("kept")
    summary: dict[str, Any] = {
        "rows": rows,
        "days": len(plan.days),
        "rows_per_day": [sum(part.rows for part in day) for day in plan.days],
        "rates": {task: tally.positives[task] / rows for task in config.tasks},
    }
    late = {task: _late(tally, task) for task in config.tasks if tally.known_delays[task]}
    summary |= {"late_positives": late} if late else {}
    if config.domain is not None and config.domain.levels is None:
        summary["domain_of_levels"] = plan.domains
    if config.time is None:
        summary["event_times"] = (
            "made up: the table has none; its rows were taken in order, so its days are no real days"
        )
    summary["distinct"] = {name: tally.distinct[name].told() for name in config.categorical}
    summary["missing_values_filled"] = {name: count for name, count in tally.filled.items() if count}
    return summary | {reason: count for reason, count in tally.rows.items() if count}


def _late(tally: Tally, task: str) -> dict[str, float | int]:
    known = tally.known_delays[task]
    return {
        "beyond_an_hour": tally.beyond_an_hour[task] / known,
        "beyond_a_day": tally.beyond_a_day[task] / known,
        "without_a_known_delay": tally.positives[task] - known,
    }
