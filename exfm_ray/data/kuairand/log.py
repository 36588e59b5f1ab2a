"""KuaiRand-Pure's standard log, cleaned: validated, sorted, without exact duplicates, cut into Beijing days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from exfm_ray.config import KuaiRandData
from exfm_ray.data.kuairand.tables import Tables, bad_value, find_tables, read_table, whole_numbers
from exfm_ray.data.location import Location
from exfm_ray.data.logs.history import BEFORE_ALL, Histories

Integers = NDArray[np.int64]

LABELS = {
    "click": "is_click",
    "long_view": "long_view",
    "like": "is_like",
    "follow": "is_follow",
    "profile_enter": "is_profile_enter",
}
"""The log's column of each task."""
EVENT_COLUMNS = ("time_ms", "user_id", "video_id", "tab", "duration_ms")
WARMUP_COLUMNS = ("user_id", "order_in_user", "video_id", "long_view")
WARMUP_LAST_DATE = date(2022, 4, 24)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BEIJING_MS = 8 * HOUR_MS
"""Asia/Shanghai is UTC+8; it has had no daylight saving time since 1991."""
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class EventLog:
    """The events from first_date to last_date, in event order, and what came before each of them."""

    columns: dict[str, Integers]
    """(N,) each: EVENT_COLUMNS, `day` from 1, `hour` of Beijing, `event_id`, `domain`, and the label per task"""
    histories: Histories
    """long-viewed videos per user, from the warm-up, the log before first_date and the events themselves"""
    counts: dict[str, int]
    """what was dropped or is odd, for `KuaiRandSource.summary`"""

    def day(self, day: int) -> dict[str, Integers]:
        """The columns of one day's rows."""
        begin, end = np.searchsorted(self.columns["day"], [day, day + 1])
        return {name: values[begin:end] for name, values in self.columns.items()}


def label_columns(config: KuaiRandData) -> tuple[str, ...]:
    """Columns of the log that hold 0 or 1: those of the tasks, and long_view, which the histories need."""
    return tuple(dict.fromkeys(["long_view", *(LABELS[task] for task in config.tasks)]))


def days_of(time_ms: Integers, first: date) -> Integers:
    """(N,) days in Beijing time, 1 being `first`."""
    return (time_ms + BEIJING_MS) // DAY_MS - (first - _EPOCH).days + 1


def domain_names(config: KuaiRandData) -> tuple[str, ...]:
    """What a user calls each domain."""
    listed = [", ".join(map(str, domain)) for domain in config.domains]
    return tuple((f"tabs {tabs}" if "," in tabs else f"tab {tabs}") if tabs else "other tabs" for tabs in listed)


def domains_of(tab: Integers, config: KuaiRandData) -> Integers:
    """(N,) domain of each row by its tab; -1 where no domain takes it."""
    others = next((index for index, domain in enumerate(config.domains) if not domain), -1)
    domains = np.full(len(tab), others, dtype=np.int64)
    for index, domain in enumerate(config.domains):
        domains[np.isin(tab, domain)] = index
    return domains


def read_log(config: KuaiRandData) -> EventLog:
    """Read, check and cut the log.

    Raises:
        UserError: a label is not 0 or 1, or an id, a time, a tab or a duration is no whole number.
    """
    tables = find_tables(config)
    rows = _sorted_rows(tables, config)
    rows = rows[rows["day"] <= (config.last_date - config.first_date).days + 1]
    distinct = rows[~rows["copy"]]
    events = distinct[distinct["day"] >= 1].assign(event_id=lambda of_days: np.arange(len(of_days)))
    kept = events[events["domain"] >= 0]
    warmup = _warmup(tables, config, first_logged=int(rows["date"].iloc[0]))
    return EventLog(
        columns={str(name): kept[name].to_numpy() for name in kept},
        histories=_histories(warmup, distinct),
        counts={
            "duplicates_dropped": len(rows) - len(distinct),
            "rows_before_first_date": len(distinct) - len(events),
            "rows_in_no_domain_dropped": len(events) - len(kept),
            "rows_dated_otherwise": int((events["date"] != _date_numbers(events["time_ms"])).sum()),
            "warmup_long_views": len(warmup),
        },
    )


def _sorted_rows(tables: Tables, config: KuaiRandData) -> pd.DataFrame:
    """All rows of the log by (time_ms, user_id, video_id, place in the files), exact copies of earlier ones marked."""
    raw = [read_table(place) for place in tables.logs]
    checked = (_checked(table, place, config) for table, place in zip(raw, tables.logs, strict=True))
    rows = pd.concat(checked, ignore_index=True)
    rows["copy"] = _copies(raw, rows)
    rows = rows.iloc[np.lexsort((rows["video_id"], rows["user_id"], rows["time_ms"]))]
    rows["day"] = days_of(rows["time_ms"].to_numpy(), config.first_date)
    rows["hour"] = (rows["time_ms"] + BEIJING_MS) % DAY_MS // HOUR_MS
    rows["domain"] = domains_of(rows["tab"].to_numpy(), config)
    return rows


def _copies(raw: Sequence[pa.Table], rows: pd.DataFrame) -> NDArray[np.bool_]:
    """(N,) which rows equal an earlier one in every column of the files.

    Only rows that share time, user and video with another are compared: few, where all columns of all rows are big.
    """
    shared = rows.duplicated(["time_ms", "user_id", "video_id"], keep=False).to_numpy()
    parts = np.split(shared, np.cumsum([table.num_rows for table in raw])[:-1])
    compared = [table.filter(pa.array(part)).to_pandas() for table, part in zip(raw, parts, strict=True)]
    copies = np.zeros(len(rows), dtype=np.bool_)
    copies[shared] = pd.concat(compared, ignore_index=True).duplicated()
    return copies


def _checked(table: pa.Table, place: Location, config: KuaiRandData) -> pd.DataFrame:
    """The columns of one log file that events are made of."""
    columns = {name: whole_numbers(table, name, place) for name in ("date", *EVENT_COLUMNS)}
    return pd.DataFrame(columns | {name: _binary(table, name, place) for name in label_columns(config)})


def _date_numbers(time_ms: "pd.Series[int]") -> Integers:
    """(N,) Beijing dates in the log's own form, such as 20220425."""
    dates = pd.to_datetime(time_ms + BEIJING_MS, unit="ms").dt
    return np.asarray(dates.year * 10_000 + dates.month * 100 + dates.day, dtype=np.int64)


def _binary(table: pa.Table, column: str, place: Location) -> Integers:
    values = whole_numbers(table, column, place)
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        raise bad_value(column, int(values[wrong.argmax()]), "0 or 1", place)
    return values


def _warmup(tables: Tables, config: KuaiRandData, first_logged: int) -> pd.DataFrame:
    """Long views of the warm-up per user, oldest first; none where the days or the log reach into its time.

    The warm-up has no times, so it may stand before the log only as a whole: an event of its own days would see
    what its user watched afterwards, and a log that covers its days has the same views already.

    Args:
        first_logged: `date` of the log's first row.
    """
    overlaps = config.first_date <= WARMUP_LAST_DATE or first_logged <= int(WARMUP_LAST_DATE.strftime("%Y%m%d"))
    if tables.warmup is None or overlaps:
        return pd.DataFrame({"user_id": [], "video_id": []}, dtype=np.int64)
    table = read_table(tables.warmup, WARMUP_COLUMNS)
    rows = pd.DataFrame({name: whole_numbers(table, name, tables.warmup) for name in WARMUP_COLUMNS})
    views: pd.DataFrame = rows[_binary(table, "long_view", tables.warmup) == 1]
    return views.sort_values(["user_id", "order_in_user"], kind="stable")


def _histories(warmup: pd.DataFrame, events: pd.DataFrame) -> Histories:
    views = events[events["long_view"] == 1]
    users, videos = (np.concatenate([warmup[name], views[name]]) for name in ("user_id", "video_id"))
    times = np.concatenate([np.full(len(warmup), BEFORE_ALL), views["time_ms"]])
    return Histories.of(users, times, videos)
