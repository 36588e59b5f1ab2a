"""KuaiRand-Pure's tables where they lie: the two layouts, and reading columns with the user's mistakes named."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv
from pyarrow import parquet as pq

from exfm_ray.config import KuaiRandData
from exfm_ray.data.location import Location
from exfm_ray.errors import UserError

TEXT_COLUMNS = frozenset(
    {
        "user_active_degree",
        "follow_user_num_range",
        "fans_user_num_range",
        "friend_user_num_range",
        "register_days_range",
        "video_type",
        "upload_dt",
        "upload_type",
        "tag",
    }
)
"""Columns of the user and the video table that hold text; all others hold numbers."""


@dataclass(frozen=True)
class Layout:
    """File names of one way to store the tables."""

    logs: tuple[str, ...]
    users: str
    videos: str
    warmup: str | None = None


PARQUET = Layout(("interactions.parquet",), "users.parquet", "items.parquet", "warmup_until_20220424.parquet")
OFFICIAL = Layout(
    ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv"),
    "user_features_pure.csv",
    "video_features_basic_pure.csv",
)


@dataclass(frozen=True)
class Tables:
    """Where each table of a data set lies."""

    logs: tuple[Location, ...]
    """in order of time; at least one"""
    users: Location
    videos: Location
    warmup: Location | None


def find_tables(config: KuaiRandData) -> Tables:
    """The tables in `config.path` or in its subdirectory `data`.

    Raises:
        UserError: the path is no directory, is empty, or lacks a needed table.
    """
    root = Location.of(config.path)
    if not root.is_directory():
        found = "is a file" if root.is_file() else "does not exist"
        raise UserError(f"data.path: {config.path!r} {found}; give the directory that holds KuaiRand-Pure's tables")
    if not root.children():
        raise UserError(f"data.path: {config.path!r} is an empty directory; put KuaiRand-Pure's tables there")
    for directory in (root, root / "data"):
        names = {child.name for child in directory.children()}
        for layout in (PARQUET, OFFICIAL):
            if names & {*layout.logs, layout.users, layout.videos}:
                return _tables_of(layout, directory, names)
    raise UserError(
        f"data.path: {config.path!r} holds no table of KuaiRand-Pure; it needs {_needed(OFFICIAL)}, or else "
        f"{_needed(PARQUET)}"
    )


def _needed(layout: Layout) -> str:
    return f"{' or '.join(layout.logs)}, {layout.users} and {layout.videos}"


def _tables_of(layout: Layout, directory: Location, names: set[str]) -> Tables:
    logs = tuple(directory / name for name in layout.logs if name in names)
    missing = [name for name in (layout.users, layout.videos) if name not in names]
    missing += [] if logs else [" or ".join(layout.logs)]
    if missing:
        raise UserError(f"data.path: {directory} lacks {' and '.join(missing)}; it needs {_needed(layout)}")
    warmup = directory / layout.warmup if layout.warmup in names else None
    return Tables(logs, directory / layout.users, directory / layout.videos, warmup)


def column_names(place: Location) -> list[str]:
    """Columns of a table, from its schema or header alone.

    Raises:
        UserError: the file cannot be read as a table.
    """
    system, path = place.opened()
    try:
        if place.name.endswith(".parquet"):
            with system.open_input_file(path) as source:
                return list(pq.read_schema(source).names)
        with system.open_input_stream(path) as source, csv.open_csv(source) as reader:
            return list(reader.schema.names)
    except pa.ArrowInvalid as error:
        raise _unreadable(place, error) from error


def read_table(place: Location, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of a table, all where `columns` is None.

    A CSV column that is no number though it should be is read as text, so that `whole_numbers` and `numbers`
    can name the value that is wrong.

    Raises:
        UserError: the file cannot be read as a table.
    """
    system, path = place.opened()
    wanted = None if columns is None else list(columns)
    try:
        if place.name.endswith(".parquet"):
            with system.open_input_file(path) as source:
                return pq.read_table(source, columns=wanted)
        names = column_names(place) if wanted is None else wanted
        types = {name: pa.string() if name in TEXT_COLUMNS else pa.float64() for name in names}
        try:
            return _read_csv(place, types)
        except pa.ArrowInvalid:
            return _read_csv(place, dict.fromkeys(names, pa.string()))
    except pa.ArrowInvalid as error:
        raise _unreadable(place, error) from error


def _read_csv(place: Location, types: dict[str, pa.DataType]) -> pa.Table:
    options = csv.ConvertOptions(
        include_columns=list(types), column_types=types, strings_can_be_null=True, null_values=[""]
    )
    system, path = place.opened()
    with system.open_input_stream(path) as source:
        return csv.read_csv(source, convert_options=options)


def _unreadable(place: Location, error: Exception) -> UserError:
    kind = "Parquet" if place.name.endswith(".parquet") else "CSV with a header"
    reason = str(error).splitlines()[0]
    return UserError(f"data.path: {place} cannot be read as {kind} ({reason}); put the intact file there")


def whole_numbers(table: pa.Table, column: str, place: Location) -> NDArray[np.int64]:
    """(N,) values of a column that must be whole and never missing.

    Raises:
        UserError: one is not.
    """
    values = table[column]
    try:
        whole = values.cast(pa.int64())
    except pa.ArrowInvalid:
        whole = None
    if whole is None or whole.null_count:
        read = pd.to_numeric(values.to_pandas(), errors="coerce")
        raise bad_value(column, values[int((read.isna() | (read % 1 != 0)).argmax())].as_py(), "a whole number", place)
    return np.asarray(whole.to_numpy(), dtype=np.int64)


def numbers(table: pa.Table, column: str, place: Location) -> NDArray[np.float64]:
    """(N,) values of a column, NaN where missing; ids up to 2**53 stay exact.

    Raises:
        UserError: a value is no number.
    """
    values = table[column]
    try:
        return np.asarray(values.cast(pa.float64()).to_numpy(), dtype=np.float64)
    except pa.ArrowInvalid as error:
        read = pd.to_numeric(values.to_pandas(), errors="coerce")
        wrong = values[int((read.isna() & values.is_valid().to_pandas()).argmax())].as_py()
        raise bad_value(column, wrong, "a number or nothing", place) from error


def texts(table: pa.Table, column: str) -> pa.ChunkedArray:
    """(N,) strings of a column, trimmed; null where missing or empty."""
    trimmed = pc.utf8_trim_whitespace(table[column].cast(pa.string()))
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def bad_value(column: str, value: object, allowed: str, place: Location) -> UserError:
    """The mistake of a table's value."""
    found = "nothing" if value is None else repr(value)
    return UserError(f"data.path: column {column} of {place} holds {found} but must hold {allowed}; mend that file")
