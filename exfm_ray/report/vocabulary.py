"""Which vocabularies a run had: which ids have a row of their own in its tables, and how many met none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exfm_ray.config import Recipe
from exfm_ray.data.commit import committed, require
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import ROW_GROUP_ROWS, SCHEMA_FILE, read_rows, read_schema
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.report.results import Results
from exfm_ray.report.wording import counted, days, listed, share


@dataclass(frozen=True)
class CountedIds:
    """Of one feature, by the end of the last day that a model of the run knows."""

    name: str
    ids: int
    known: int
    """with a row of their own"""
    min_count: int
    unknown_share: float | None
    """of the first ROW_GROUP_ROWS rows of each evaluated day, in [0, 1]; None where the days are gone"""


def vocabulary_sentence(run: RunDirectory, results: Results) -> str | None:
    """How ids became rows; None where that is no longer there to read."""
    recipe = run.recipe()
    if recipe.vocabulary is None:
        return _hashed_sentence(run.days)
    last = vocabulary_day(recipe, max(results.days))
    if last == 0:
        return "Vocabularies grow from day to day, and no model was trained on a day that knew any id."
    manifest = committed(run.vocabulary.day(last))
    return _counted_sentence(recipe, last, read_counted(run, recipe, results)) if manifest is not None else None


def vocabulary_day(recipe: Recipe, evaluated_day: int) -> int:
    """The last day that the vocabularies know of a VM which is evaluated on a day, trained on the day before; 0: none.

    As `Experiment.vocabulary_day`, of a recipe that counts ids.
    """
    assert recipe.vocabulary is not None
    return evaluated_day - 2 if recipe.vocabulary.grow else recipe.counted_through_day


def read_counted(run: RunDirectory, recipe: Recipe, results: Results) -> list[CountedIds]:
    """What the vocabularies of the last evaluated day say of each feature, in the order of the features."""
    through = {day: vocabulary_day(recipe, day) for day in results.days}
    facts: Mapping[str, Mapping[str, int]] = require(run.vocabulary.day(max(through.values()))).about["features"]
    unknown = _unknown_shares(run, through, list(facts))
    return [
        CountedIds(name, fact["ids"], fact["known"], fact["min_count"], unknown.get(name))
        for name, fact in facts.items()
    ]


def _unknown_shares(run: RunDirectory, through: Mapping[int, int], names: Sequence[str]) -> dict[str, float]:
    """By feature, over the beginnings of all days in `through`, each against the vocabularies of the day there."""
    if any(committed(run.days.day(day)) is None for day in through):
        return {}
    unknown, rows = dict.fromkeys(names, 0), 0
    for day, known_through in through.items():
        beginning = next(read_rows(run.days.day(day), names), None)
        if beginning is None:
            continue
        rows += beginning.num_rows
        for name, known in _known_ids(run.vocabulary, known_through, names):
            unknown[name] += int(np.isin(beginning[name].to_numpy(), known, invert=True).sum())
    return {name: count / rows for name, count in unknown.items()} if rows else {}


def _known_ids(vocabulary: Location, day: int, names: Sequence[str]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Ids with a row of their own, one feature after the other."""
    place = vocabulary.day(day)
    files = require(place).files if day else (None,) * len(names)
    for name, file in zip(names, files, strict=True):
        parts = [np.zeros(0, dtype=np.int64)]
        for table in read_rows(place, ["id", "row"], files=[file]) if file is not None else ():
            parts.append(table["id"].to_numpy()[table["row"].to_numpy() > 0])
        yield name, np.concatenate(parts)


def _hashed_sentence(dataset: Location) -> str | None:
    if not (dataset / SCHEMA_FILE).is_file():
        return None
    features = read_schema(dataset).of_kind("categorical")
    hashed = [f"{feature.name} ({counted(feature.rows, 'row')})" for feature in features if feature.encoding == "hash"]
    if not hashed:
        return "Ids are rows of their tables as they are: none was counted or hashed."
    shared = "hashed to rows of tables of fixed size, shared by ids"
    return f"No ids were counted: {listed(hashed)} {_are(hashed)} {shared}."


def _counted_sentence(recipe: Recipe, last: int, features: Sequence[CountedIds]) -> str:
    config = recipe.vocabulary
    assert config is not None
    least = {feature.min_count for feature in features}
    often = f"{counted(least.pop(), 'time')} or more" if len(least) == 1 else "often enough"
    told = [_told(feature, alone=often != "often enough") for feature in features]
    rule = (
        f"Vocabularies grow: an id seen {often} by the end of a day has a row of its own from the next day on, by "
        f"{days([last])}"
        if config.grow
        else f"An id seen {often} in {days(range(1, last + 1))} has a row of its own, which holds for"
    )
    sentence = f"{rule} {listed(told)}; all others of a feature share one"
    if config.hashed:
        sentence += f", and {listed(config.hashed)} {_are(config.hashed)} hashed to rows of a table of fixed size"
    unknown = [f"{share(f.unknown_share)} % ({f.name})" for f in features if f.unknown_share is not None]
    if unknown:
        beginning = f"of the first {ROW_GROUP_ROWS:,} rows of each evaluated day"
        sentence += f"; {beginning}, {listed(unknown)} have an id of these others"
    return f"{sentence}."


def _told(feature: CountedIds, *, alone: bool) -> str:
    often = "" if alone else f", {counted(feature.min_count, 'time')} or more"
    return f"{feature.known:,} of {feature.ids:,} ids ({feature.name}{often})"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
