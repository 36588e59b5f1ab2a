"""What a user can have wrong about KuaiRand-Pure, told before any work starts."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from exfm_ray.config import KuaiRandData
from exfm_ray.data.kuairand.features import BUILT_IN_FEATURES
from exfm_ray.data.kuairand.log import EVENT_COLUMNS, WARMUP_COLUMNS, days_of, label_columns
from exfm_ray.data.kuairand.tables import column_names, find_tables, read_table, whole_numbers
from exfm_ray.data.location import Location
from exfm_ray.errors import UserError
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, FORBIDDEN_PREFIXES, STAGE

VIDEO_COLUMNS = (
    "author_id",
    "video_type",
    "upload_dt",
    "upload_type",
    "visible_status",
    "video_duration",
    "server_width",
    "server_height",
    "music_id",
    "music_type",
    "tag",
)
"""The official basic video table; any other column is a statistic over the whole month that knows the days to come."""


def check_kuairand(config: KuaiRandData) -> None:
    """Check that a data set can be made from the tables; reads headers, and times to see which dates there are.

    Raises:
        UserError: a table or a column is missing, a column may not be used, or a date has no rows.
    """
    tables = find_tables(config)
    _check_names(config)
    for log in tables.logs:
        _require(log, ("date", *EVENT_COLUMNS, *label_columns(config)))
    _require(tables.users, ("user_id", *config.user_columns))
    _require(tables.videos, ("video_id", *config.item_columns))
    if tables.warmup is not None:
        _require(tables.warmup, WARMUP_COLUMNS)
    _check_dates(config, tables.logs)


def _check_names(config: KuaiRandData) -> None:
    for column in config.item_columns:
        if column not in VIDEO_COLUMNS:
            raise UserError(
                f"data.item_columns: {column!r} is none of {', '.join(VIDEO_COLUMNS)}; leave it out, for other "
                "columns are statistics over the whole month and leak the days to come"
            )
    taken = {*BUILT_IN_FEATURES, EVENT_ID, EVENT_TIME, DOMAIN, STAGE}
    for field in ("user_columns", "item_columns"):
        for column in getattr(config, field):
            if column in taken or column.startswith(FORBIDDEN_PREFIXES):
                raise UserError(f"data.{field}: {column!r} is the name of another column of a day; leave it out")
            taken.add(column)
    if len(set(config.tasks)) != len(config.tasks):
        raise UserError(f"data.tasks: {', '.join(config.tasks)} repeats a task; leave each once")


def _require(place: Location, columns: Sequence[str]) -> None:
    names = column_names(place)
    for column in columns:
        if column not in names:
            raise UserError(f"data.path: {place} has no column {column!r}, which is needed; it has {', '.join(names)}")


def _check_dates(config: KuaiRandData, logs: Sequence[Location]) -> None:
    times = np.concatenate([whole_numbers(read_table(log, ("time_ms",)), "time_ms", log) for log in logs])
    days = days_of(times, config.first_date)
    count = (config.last_date - config.first_date).days + 1
    empty = np.flatnonzero(np.bincount(days[(days >= 1) & (days <= count)], minlength=count + 1)[1:] == 0)
    if not len(empty):
        return
    found = "no rows"
    if len(times):
        first, last = (config.first_date + timedelta(days=int(day) - 1) for day in (days.min(), days.max()))
        found = f"rows from {first} to {last}"
    which = "any of them" if len(empty) == count else str(config.first_date + timedelta(days=int(empty[0])))
    raise UserError(
        f"data.first_date, data.last_date: {config.first_date} to {config.last_date}, but the log has {found} and "
        f"none on {which}; choose dates that all have rows"
    )
