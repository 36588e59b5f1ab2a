"""Vocabularies of a run: counted day by day from the day partitions, committed, and found again by every model.

`<run>/vocabulary/day=NNN` knows days 1 … NNN and nothing later: one file per feature with each id, how often it was
seen, in the field and in the histories that share its table together, and its row (0: none yet). Runs of a grid that
count the same days share one such directory.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pyarrow as pa

from exfm_ray.config import VocabularyConfig
from exfm_ray.data.commit import Stopwatch, commit, committed, require
from exfm_ray.data.encode import column
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.id_counts import IdCounts, Integers, ranked
from exfm_ray.data.lists import elements
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import read_rows, write_part
from exfm_ray.data.traffic import Traffic
from exfm_ray.data.vocabulary import Vocabularies, Vocabulary
from exfm_ray.data.waiting import wait_until_committed
from exfm_ray.schema import Schema

NOTHING = np.zeros(0, dtype=np.int64)
Columns = tuple[Integers, Integers, Integers]
"""ids in ascending order, their counts, their rows"""


def count_days(experiment: Experiment) -> None:
    """Count every day that a vocabulary is made of, each as soon as its partition is there."""
    timeout = experiment.recipe.resources.wait_timeout_seconds
    for day in experiment.counted_days:
        if committed(experiment.vocabulary.day(day)) is None:
            partition = Location(experiment.dataset).day(day)
            wait_until_committed(partition, timeout, f"the partition of day {day}")
            count_day(experiment, day)


def count_day(experiment: Experiment, day: int) -> None:
    """Commit what is known by the end of a day; the day before must be committed."""
    config, place = experiment.recipe.vocabulary, experiment.vocabulary
    assert config is not None
    stopwatch = Stopwatch.start()
    names = [feature.name for feature in experiment.inputs.counted_features()]
    before = _columns(place.day(day - 1), names) if day > 1 else dict.fromkeys(names, (NOTHING, NOTHING, NOTHING))
    counts = {name: IdCounts(*before[name][:2]) for name in names}
    count_rows(counts, Location(experiment.dataset).day(day), experiment.inputs)
    gives_rows = config.grow or day == experiment.counted_days[-1]
    after = {name: _after(before[name], counts[name], config, name, gives_rows=gives_rows) for name in names}
    files = [write_part(place.day(day), part, _table(columns)) for part, columns in enumerate(after.values())]
    about = {
        "day": day,
        "features": {
            name: {"ids": len(ids), "known": int(np.count_nonzero(rows)), "min_count": config.least(name)}
            for name, (ids, _, rows) in after.items()
        },
    }
    commit(place.day(day), files, about, stopwatch)


def count_rows(counts: Mapping[str, IdCounts], partition: Location, schema: Schema) -> None:
    """Count a day's ids, of each feature and of the sequences that share its table."""
    sequences = [feature for feature in schema.of_kind("sequence") if feature.shares in counts]
    for table in read_rows(partition, [*counts, *(feature.name for feature in sequences)]):
        for name, of_feature in counts.items():
            of_feature.add(column(table, name).astype(np.int64, copy=False))
        for feature in sequences:
            counts[feature.shares or ""].add(elements(table, feature.name))


def _after(before: Columns, counts: IdCounts, config: VocabularyConfig, name: str, *, gives_rows: bool) -> Columns:
    ids, seen = counts.merged()
    rows = np.zeros(len(ids), dtype=np.int64)
    rows[np.searchsorted(ids, before[0])] = before[2]
    return ids, seen, ranked(ids, seen, rows, config.least(name), config.most_rows) if gives_rows else rows


def _table(columns: Columns) -> pa.Table:
    return pa.table(dict(zip(("id", "count", "row"), columns, strict=True)))


def _columns(directory: Location, names: list[str]) -> dict[str, Columns]:
    none = pa.schema([(name, pa.int64()) for name in ("id", "count", "row")]).empty_table()
    found = {}
    for name, file in zip(names, require(directory).files, strict=True):
        table = pa.concat_tables([none, *read_rows(directory, none.column_names, files=[file])])
        ids, counts, rows = (table[part].to_numpy().copy() for part in none.column_names)
        found[name] = (ids, counts, rows)
    return found


@lru_cache(maxsize=2)
def read_vocabularies(directory: Location) -> Vocabularies:
    """What a committed day knows. Read once in a process: committed things never change."""
    names = list(require(directory).about["features"])
    known = {}
    for name, (ids, _, rows) in _columns(directory, names).items():
        has_row = rows > 0
        known[name] = Vocabulary(ids[has_row], rows[has_row])
    return known


def coded(experiment: Experiment, traffic: Traffic, day: int) -> Traffic:
    """Traffic with the vocabularies that a model is trained with on a day, once they are there.

    Raises:
        WaitError: they are still not there after the recipe's time.
    """
    if not traffic.schema.counted_features():
        return traffic
    through = experiment.vocabulary_day(day)
    if through == 0:
        names = [feature.name for feature in traffic.schema.counted_features()]
        return traffic.with_vocabularies(dict.fromkeys(names, Vocabulary(NOTHING, NOTHING)))
    place = experiment.vocabulary.day(through)
    timeout = experiment.recipe.resources.wait_timeout_seconds
    wait_until_committed(place, timeout, f"the vocabularies of days 1 to {through}")
    return traffic.with_vocabularies(read_vocabularies(place))
