"""Drafts the schema file of a reader's own table, for its owner to correct."""

import json
import re
from collections.abc import Iterator

import numpy as np

from exfm_ray.data.table.profile import Profile, Sample, sample_table
from exfm_ray.data.table.roles import Roles, guess_roles, moments_of
from exfm_ray.errors import UserError
from exfm_ray.schema import DOMAIN, EVENT_ID, EVENT_TIME, FORBIDDEN_PREFIXES, STAGE

DAYS = 8
MOST_CALENDAR_DAYS = 366
MOST_DOMAIN_LEVELS = 20
IDENTITY_ROWS = 1_000
WIDE = 1_000
"""Numbers from 0 to more than this are drafted by their logarithms."""
MILLISECONDS_PER_DAY = 86_400_000
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"}


def draft_schema(path: str) -> str:
    """YAML that `exfm prepare csv|parquet --schema` takes, with comments on what to check.

    Raises:
        UserError: the files cannot be read, or no column holds only 0 and 1.
    """
    sample = sample_table(path)
    roles = guess_roles(sample)
    if not roles.tasks:
        raise UserError(f"data.path: {path} has no column of 0 and 1 alone, which a task's label must be; add one")
    return "\n".join(_lines(path, sample, roles)) + "\n"


def text(value: str) -> str:
    """A YAML scalar that means this text."""
    return value if PLAIN.fullmatch(value) and value.lower() not in YAML_WORDS else json.dumps(value)


def _lines(path: str, sample: Sample, roles: Roles) -> Iterator[str]:
    seen = "all" if sample.is_all else "a sample of"
    yield f"# Drafted from {seen} {sample.rows} rows of {path}. Correct it, then:"
    yield f"#   exfm prepare {sample.kind} {path} --schema THIS_FILE --out DIR"
    yield "# Check above all that every feature was known before its event: take out what was measured later."
    if sample.kind == "csv" and sample.delimiter != ",":
        yield f"delimiter: {json.dumps(sample.delimiter)}"
    yield from _time_lines(sample, roles)
    yield "tasks:"
    for name, task in roles.tasks.items():
        named = {"label": task.label, "delay": task.delay, "feedback_time": task.feedback_time}
        fields = ", ".join(f"{key}: {text(column.name)}" for key, column in named.items() if column is not None)
        rate = float(np.mean(task.label.values == 1))
        yield f"  {text(name)}: {{{fields}}}  # positive in {rate:.2%} of the rows"
    if roles.event_id is not None:
        yield f"event_id: {text(roles.event_id.name)}  # differs in each sampled row"
    yield from _domain_lines(roles)
    yield from _feature_lines(sample, roles)
    if roles.unused:
        yield "# Left out:"
        yield from (f"#   {name}: {reason}" for name, reason in roles.unused.items())


def _time_lines(sample: Sample, roles: Roles) -> Iterator[str]:
    if roles.time is None:
        yield "# No column looks like a time, so rows are taken in the order of the files. If there is one:"
        yield "# time: {column: ts, unit: s, zone: UTC}  # unit: s, ms or us since 1970, or iso"
        yield f"days: {{count: {min(DAYS, sample.rows)}, cut: equal_rows}}"
        return
    moments = np.sort(moments_of(roles.time, roles.unit))
    first, last = (str(np.datetime64(int(moments[place]), "ms"))[:19] for place in (0, -1))
    yield f"# Times from {first} to {last} UTC. Days are cut in the zone: is it yours?"
    yield f"time: {{column: {text(roles.time.name)}, unit: {roles.unit}, zone: UTC}}"
    days = np.unique(moments // MILLISECONDS_PER_DAY)
    count = int(days[-1] - days[0]) + 1
    if sample.is_all and 2 < count == len(days) <= MOST_CALENDAR_DAYS:
        yield f"days: {{count: {count}, cut: calendar, first: {first[:10]}}}"
        return
    yield f"# Or by dates: days: {{count: {min(count, MOST_CALENDAR_DAYS)}, cut: calendar, first: {first[:10]}}}"
    yield f"days: {{count: {min(DAYS, len(np.unique(moments)))}, cut: equal_rows}}"


def _domain_lines(roles: Roles) -> Iterator[str]:
    few = [column for column in roles.categorical if 1 < len(column.ids) <= MOST_DOMAIN_LEVELS]
    if few:
        names = ", ".join(column.name for column in few[:8])
        yield f"# Domains may come from a column of few levels ({names}):"
        yield f"# domain: {{column: {text(few[0].name)}, merge_into: 2, counted_through_day: 1}}"


def _feature_lines(sample: Sample, roles: Roles) -> Iterator[str]:
    if roles.categorical:
        yield "categorical:  # rows of the tables: about twice the distinct ids; raise them where more will come"
    lenders = {owner.name for _, owner in roles.sequences.values()}
    for column in roles.categorical:
        table = _table(column, is_sure=sample.is_all and column.name not in lenders)
        yield f"  {_key(column)}: {{{_named(column)}{table}}}  # {len(column.ids)} distinct{_gaps(column)}"
    if roles.numeric:
        yield "numeric:"
    for column in roles.numeric:
        known = column.known
        shown = f"{known.min():.6g} to {known.max():.6g}{_gaps(column)}"
        wide = known.min() >= 0 and known.max() > WIDE
        yield f"  {_key(column)}: {{{_named(column)}transform: {'log1p' if wide else 'none'}}}  # {shown}"
    if roles.sequences:
        yield "sequences:  # ids from before the event, oldest first; the last `length` are kept"
    for column, owner in roles.sequences.values():
        separator = f"separator: {json.dumps(column.separator)}, " if column.separator is not None else ""
        yield f"  {_key(column)}: {{{_named(column)}shares: {_key(owner)}, {separator}length: 50}}"


def _key(column: Profile) -> str:
    """Name of the feature: the column's, unless a day has another column of that name."""
    return text(f"feature_{column.name}" if _is_taken(column.name) else column.name)


def _named(column: Profile) -> str:
    return f"column: {text(column.name)}, " if _is_taken(column.name) else ""


def _is_taken(name: str) -> bool:
    return name in (EVENT_ID, EVENT_TIME, DOMAIN, STAGE) or name.startswith(FORBIDDEN_PREFIXES)


def _table(column: Profile, is_sure: bool) -> str:
    """Small numbers are rows themselves where all of them were seen for sure."""
    if is_sure and column.is_whole and column.ids.min() >= 0 and column.ids.max() < IDENTITY_ROWS:
        largest = int(column.ids.max())
        return f"rows: {largest + 2}, encoding: identity, missing: {largest + 1}"
    return f"rows: {table_rows(len(column.ids))}"


def table_rows(distinct: int) -> int:
    """Rows of a hashed table: twice the distinct ids, at least 10, rounded up to two leading digits."""
    wanted = max(10, 2 * distinct)
    step = int(10 ** max(0, len(str(wanted)) - 2))
    return -(-wanted // step) * step


def _gaps(column: Profile) -> str:
    return f", {column.missing / column.rows:.2%} missing" if column.missing else ""
