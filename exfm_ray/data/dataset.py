"""The data section of a recipe, opened: a source of days to prepare, or day partitions that exist already."""

import json
from dataclasses import dataclass

from exfm_ray.config import (
    STREAM_FIELDS,
    AmazonData,
    CsvData,
    DataConfig,
    DriftData,
    KuaiVideoData,
    ParquetData,
    PartitionsData,
    PublicData,
    RawLogData,
    TaobaoData,
)
from exfm_ray.data.commit import committed, require
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import SCHEMA_FILE, read_schema
from exfm_ray.data.source import DaySource, LogSource
from exfm_ray.errors import UserError
from exfm_ray.schema import Schema

SOURCE_FILE = "source.json"
"""beside prepared days: the settings that they were prepared with"""


@dataclass(frozen=True)
class Dataset:
    """Either `source` still has to be prepared, or `prepared` is where the days are."""

    schema: Schema
    days: int
    source: DaySource | None = None
    prepared: Location | None = None


def open_dataset(config: DataConfig) -> Dataset:
    """Look at the data without writing anything.

    Raises:
        UserError: `data.path` is missing, empty, or lacks what it needs.
    """
    if isinstance(config, DriftData):
        from exfm_ray.data.drift.source import DriftSource

        stream = DriftSource(config)
        return Dataset(stream.schema(), stream.days, source=stream)
    if isinstance(config, PublicData) and config.is_shaped:
        from exfm_ray.data.shaped.source import shaped_source

        shaped = shaped_source(config)
        return Dataset(shaped.schema(), shaped.days, source=shaped)
    place = Location.of(config.directory if isinstance(config, PublicData) else config.path)
    if isinstance(config, PartitionsData) or (place / SCHEMA_FILE).is_file():
        if not isinstance(config, PartitionsData):
            _check_settings(config, place)
        return _open_prepared(place)
    log = raw_log(config)
    return Dataset(log.schema(), log.days, source=log)


def raw_log(config: RawLogData) -> LogSource:
    """The raw log that a recipe names, checked: the one place that knows which reader a `type` means.

    Raises:
        UserError: a file, a column or a value is missing or wrong.
    """
    if isinstance(config, PublicData) and config.is_shaped:
        raise UserError("data.path: is missing; name the directory of the data set's files")
    if isinstance(config, AmazonData):
        from exfm_ray.data.amazon.files import check_amazon
        from exfm_ray.data.amazon.source import AmazonSource

        check_amazon(config)
        return AmazonSource(config)
    if isinstance(config, KuaiVideoData):
        from exfm_ray.data.kuaivideo.files import check_kuaivideo
        from exfm_ray.data.kuaivideo.source import KuaiVideoSource

        check_kuaivideo(config)
        return KuaiVideoSource(config)
    if isinstance(config, CsvData | ParquetData):
        from exfm_ray.data.table.source import TableSource

        return TableSource.opened(config)
    if isinstance(config, TaobaoData):
        from exfm_ray.data.taobao.source import taobao_source

        return taobao_source(config)
    from exfm_ray.data.kuairand.check import check_kuairand
    from exfm_ray.data.kuairand.source import KuaiRandSource

    check_kuairand(config)
    return KuaiRandSource(config)


def _check_settings(config: RawLogData, place: Location) -> None:
    """Refuse days that were prepared with other settings than the recipe states and the report would show."""
    if not (place / SOURCE_FILE).is_file():
        raise UserError(f"data.path: {place} has no {SOURCE_FILE}; name what `exfm prepare {config.type}` wrote")
    prepared = json.loads((place / SOURCE_FILE).read())
    for field, value in config.model_dump(mode="json", exclude={"path", *STREAM_FIELDS}).items():
        if prepared.get(field) != value:
            raise UserError(
                f"data.{field}: {value!r}, but {place} was prepared with {prepared.get(field)!r}; "
                "say the same here, or prepare another directory"
            )


def _open_prepared(place: Location) -> Dataset:
    if not place.is_directory():
        raise UserError(f"data.path: {place} is no directory; name what `exfm prepare` wrote")
    if not (place / SCHEMA_FILE).is_file():
        raise UserError(f"data.path: {place} has no {SCHEMA_FILE}; name a directory that `exfm prepare` wrote")
    partitions = [child for child in place.children() if child.name.startswith("day=")]
    days = [int(child.name.removeprefix("day=")) for child in partitions if committed(child) is not None]
    if not days or days != list(range(1, len(partitions) + 1)):
        raise UserError(
            f"data.path: {place} has complete days {days or 'none'} of {len(partitions)}; "
            "start the same `exfm prepare` command again to finish it"
        )
    schema = read_schema(place)
    for day in days:
        if require(place.day(day)).about.get("schema") != schema.fingerprint():
            raise UserError(
                f"data.path: day {day} of {place} does not have the columns of its {SCHEMA_FILE}; prepare anew"
            )
    return Dataset(schema, len(days), prepared=place)
