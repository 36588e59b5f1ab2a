"""The data section of a recipe, opened: a source of days to prepare, or day partitions that exist already."""

from dataclasses import dataclass

from exfm_ray.config import DriftData, KuaiRandData, PartitionsData
from exfm_ray.data.commit import committed
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import SCHEMA_FILE, read_schema
from exfm_ray.data.source import DaySource
from exfm_ray.errors import UserError
from exfm_ray.schema import Schema


@dataclass(frozen=True)
class Dataset:
    """Either `source` still has to be prepared, or `prepared` is where the days are."""

    schema: Schema
    days: int
    source: DaySource | None = None
    prepared: Location | None = None


def open_dataset(config: DriftData | KuaiRandData | PartitionsData) -> Dataset:
    """Look at the data without writing anything.

    Raises:
        UserError: `data.path` is missing, empty, or lacks what it needs.
    """
    if isinstance(config, DriftData):
        from exfm_ray.data.drift import DriftSource

        stream = DriftSource(config)
        return Dataset(stream.schema(), stream.days, source=stream)
    place = Location.of(config.path)
    if isinstance(config, PartitionsData) or (place / SCHEMA_FILE).is_file():
        return _open_prepared(place)
    from exfm_ray.data.kuairand import KuaiRandSource
    from exfm_ray.data.kuairand_check import check_kuairand

    check_kuairand(config)
    log = KuaiRandSource(config)
    return Dataset(log.schema(), log.days, source=log)


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
    return Dataset(read_schema(place), len(days), prepared=place)
