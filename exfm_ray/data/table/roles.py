"""Guesses what the columns of a table mean, from their names and from what a sample of them holds."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from exfm_ray.data.table.profile import Profile, Sample
from exfm_ray.data.table.times import LAST_MS

Unit = Literal["s", "ms", "us", "iso"]

MILLISECONDS: dict[Unit, float] = {"s": 1e3, "ms": 1.0, "us": 1e-3}
FIRST_MS = 300_000_000_000
"""1979: smaller numbers hardly count from 1970."""
TIME_WORDS = {"time", "timestamp", "ts", "date", "datetime", "stamp", "at", "unixtime"}
LABEL_WORDS = {
    *("label", "target", "y", "click", "clicks", "clicked", "clk", "like", "liked", "follow", "followed", "forward"),
    *("forwarded", "share", "shared", "comment", "commented", "hate", "conversion", "convert", "converted", "buy"),
    *("bought", "purchase", "purchased", "install", "installed", "order", "ordered", "cart", "fav", "favorite"),
    *("engaged", "view", "viewed", "enter", "signup"),
}
DELAY_WORDS = {"delay", "delays", "lag", "latency", "after"}
LATE_WORDS = {"play", "playing", "played", "stay", "dwell", "watch", "watched", "revenue", "truth", "response"}
NUMBER_WORDS = {
    *("price", "count", "cnt", "num", "number", "amount", "duration", "ms"),
    *("score", "rate", "ratio", "width", "height", "size", "length"),
}
EVENT_ID_NAMES = {"event_id", "impression_id", "request_id", "row_id", "id", "index", "uuid"}


@dataclass(frozen=True)
class Task:
    """A label, and where its delay is found."""

    label: Profile
    delay: Profile | None = None
    feedback_time: Profile | None = None


@dataclass
class Roles:
    """What each column is taken for; each is in one place."""

    time: Profile | None = None
    unit: Unit = "s"
    tasks: dict[str, Task] = field(default_factory=dict)
    event_id: Profile | None = None
    categorical: list[Profile] = field(default_factory=list)
    numeric: list[Profile] = field(default_factory=list)
    sequences: dict[str, tuple[Profile, Profile]] = field(default_factory=dict)
    """by name, with the categorical column whose table it shares"""
    unused: dict[str, str] = field(default_factory=dict)
    """why, by name"""


def guess_roles(sample: Sample) -> Roles:
    """Guess; a sample without any column of 0 and 1 leaves `tasks` empty."""
    roles, left = Roles(), list(sample.columns)
    _take_time(roles, left)
    _take_labels(roles, left)
    _take_answers(roles, left)
    _take_event_id(roles, left)
    _take_features(roles, left)
    return roles


def words(name: str) -> set[str]:
    """Lower-case words of a column's name."""
    return {word for word in re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()) if word}


def task_name(label: str) -> str:
    """A column's name without what only says that it is a label."""
    bare = re.sub(r"^(is|label)_|_label$", "", label)
    return re.sub(r"[^A-Za-z0-9_.-]", "_", bare if bare[:1].isalpha() else f"task_{bare}")[:64]


def unit_of(column: Profile) -> tuple[Unit, int] | None:
    """The unit of a column of times, and how sure that is, from 0; None where it holds no times."""
    if column.missing == column.rows:
        return None
    if column.moments is not None:
        return "iso", 3
    known = column.known
    if not len(known) or not column.is_whole or not words(column.name) & TIME_WORDS or known.min() < 0:
        return None
    for unit, scale in MILLISECONDS.items():
        if known.min() * scale >= FIRST_MS and known.max() * scale < LAST_MS:
            return unit, 2
    if known.max() < LAST_MS and len(column.ids) > 2:
        return ("s" if known.max() * 1_000 < LAST_MS else "ms"), 0
    return None


def moments_of(column: Profile, unit: Unit) -> NDArray[np.float64]:
    """(N,) milliseconds, NaN where missing."""
    if column.moments is not None:
        return column.moments
    assert column.values is not None
    return np.floor(column.values * MILLISECONDS[unit])


def _take_time(roles: Roles, left: list[Profile]) -> None:
    found = []
    for column in left:
        unit = unit_of(column)
        if unit is not None and not column.missing and not words(column.name) & (LATE_WORDS | DELAY_WORDS):
            own_name = bool(words(column.name) & {"event", "impression"} or words(column.name) <= TIME_WORDS)
            found.append((unit[1], own_name, -left.index(column), column, unit[0]))
    if found:
        *_, roles.time, roles.unit = max(found, key=lambda entry: entry[:3])
        left.remove(roles.time)


def _take_labels(roles: Roles, left: list[Profile]) -> None:
    binary = [column for column in left if column.is_binary]
    labels = [column for column in binary if words(column.name) & LABEL_WORDS] or binary[:1]
    for label in labels:
        left.remove(label)
        name = task_name(label.name)
        while name in roles.tasks:
            name += "_too"
        roles.tasks[name] = Task(label)


def _take_answers(roles: Roles, left: list[Profile]) -> None:
    """Delays and feedback times, and columns that tell a label in another way."""
    for column in list(left):
        for name, task in roles.tasks.items():
            reason = _tells(column, task.label)
            if reason is not None:
                roles.unused[column.name] = reason
                left.remove(column)
                break
            if _belongs(column, name, roles):
                left.remove(column)
                if not _add_delay(roles, name, column):
                    roles.unused[column.name] = f"seems to be known after the event only, with {task.label.name}"
                break
        else:
            if words(column.name) & LATE_WORDS:
                roles.unused[column.name] = "sounds like something that is known after the event only"
                left.remove(column)


def _tells(column: Profile, label: Profile) -> str | None:
    """How a column says what a label says."""
    if column.values is None or label.values is None:
        return None
    if np.array_equal(column.values, 1 - label.values):
        return f"is the opposite of {label.name}"
    return f"is the same as {label.name}" if np.array_equal(column.values, label.values) else None


def _belongs(column: Profile, name: str, roles: Roles) -> bool:
    """Whether a column is known for the positives of a task alone, or its name says that it is its delay."""
    label = roles.tasks[name].label
    numbers = column.values if column.moments is None else column.moments
    if numbers is None or label.values is None:
        return False
    if column.missing and np.array_equal(~np.isnan(numbers), label.values == 1):
        return True
    if not words(column.name) & DELAY_WORDS:
        return False
    return len(roles.tasks) == 1 or bool(words(column.name) & words(label.name) - {"is", "label"})


def _add_delay(roles: Roles, name: str, column: Profile) -> bool:
    task = roles.tasks[name]
    if task.delay is not None or task.feedback_time is not None or task.label.values is None:
        return False
    positive = task.label.values == 1
    if _is_feedback_time(roles, column, positive):
        roles.tasks[name] = Task(task.label, feedback_time=column)
        return True
    if column.values is None or np.any(column.values[positive] < 0) or np.any(column.values[positive] >= 2**31):
        return False
    roles.tasks[name] = Task(task.label, delay=column)
    return True


def _is_feedback_time(roles: Roles, column: Profile, positive: NDArray[np.bool_]) -> bool:
    unit = unit_of(column)
    if roles.time is None or unit is None or unit[0] != roles.unit:
        return False
    return not np.any((moments_of(column, roles.unit) < moments_of(roles.time, roles.unit))[positive])


def _take_event_id(roles: Roles, left: list[Profile]) -> None:
    for column in list(left):
        if column.name.lower() in EVENT_ID_NAMES and len(column.ids) == column.rows and not column.is_list:
            roles.event_id = column
            left.remove(column)
            return


def _take_features(roles: Roles, left: Sequence[Profile]) -> None:
    lists = [column for column in left if column.is_list]
    plain = [column for column in left if not column.is_list]
    shared = {column.name: owner for column in lists if (owner := _owner(column, plain)) is not None}
    lenders = {owner.name for owner in shared.values()}
    for column in plain:
        if column.moments is not None:
            roles.unused[column.name] = "is a time; if it is known before the event, make a number of it"
        elif column.name not in lenders and len(column.ids) < 2:
            roles.unused[column.name] = "is always the same, missing, or of no plain type in the sample"
        elif column.name not in lenders and _is_number(column):
            roles.numeric.append(column)
        else:
            roles.categorical.append(column)
    for column in lists:
        if column.name in shared:
            roles.sequences[column.name] = (column, shared[column.name])
        else:
            roles.unused[column.name] = "shares ids with no other column"


def _is_number(column: Profile) -> bool:
    return column.values is not None and (not column.is_whole or bool(words(column.name) & NUMBER_WORDS))


def _owner(column: Profile, plain: Sequence[Profile]) -> Profile | None:
    """The column that holds most of a list's ids, or whose name is nearest."""

    def scores() -> Iterator[tuple[float, int, Profile]]:
        for place, other in enumerate(plain):
            common = len(np.intersect1d(column.ids, other.ids)) / max(1, len(column.ids))
            named = len(words(column.name) & words(other.name)) / len(words(column.name) | words(other.name))
            if named or common > 0.5:
                yield 2 * named + common, -place, other

    return max(scores(), key=lambda entry: entry[:2], default=(0, 0, None))[2]
