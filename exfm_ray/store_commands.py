"""`exfm store`: what a store holds, and cleaning it."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from exfm_ray.data.location import Location
from exfm_ray.data.store.contents import contents, delete
from exfm_ray.data.store.stored import KINDS, Kind, Store
from exfm_ray.errors import UserError

KEY_DIGITS = 12
"""of a key are shown"""


def list_store(store: Location) -> Iterator[str]:
    """One line per work.

    Raises:
        UserError: there is no store.
    """
    columns = "{:<11}  {:<12}  {:<20}  {:>11}  {:<16}  {:<16}".format
    yield columns("kind", "key", "days", "size", "made", "last used").rstrip()
    for thing in contents(Store(store)):
        made, used = _when(thing.made), _when(thing.used)
        yield columns(thing.kind, thing.key[:KEY_DIGITS], _days(thing.days), _size(thing.bytes), made, used)


def collect_store(
    store: Location, unused_days: float, kinds: Sequence[str], really: bool, now: float | None = None
) -> Iterator[str]:
    """Delete work that no run has used for so long; yields lines for the user.

    Args:
        unused_days: since a run that uses it was begun or continued, and since its newest commit.
        kinds: of which; empty for all.
        really: whether to delete; else it is only said what would go.
        now: seconds since the Unix epoch; None: this moment.

    Raises:
        UserError: there is no store, or a kind is none.
    """
    wanted = [_kind(name) for name in kinds] or KINDS
    place, moment, freed = Store(store), time.time() if now is None else now, 0
    for thing in contents(place):
        unused = thing.unused_days(moment)
        if thing.kind not in wanted or (unused is not None and unused < unused_days):
            continue
        told = f"{thing.kind} {thing.key[:KEY_DIGITS]}, {_days(thing.days)}, {_size(thing.bytes)}"
        if really and not delete(place, thing):
            yield f"kept {told}: a run uses it"
            continue
        freed += thing.bytes
        yield f"{'deleted' if really else 'would delete'} {told}"
    yield f"{_size(freed)} freed" if really else f"{_size(freed)} would be freed; say --delete to do it"


def _kind(name: str) -> Kind:
    for kind in KINDS:
        if kind == name:
            return kind
    raise UserError(f"--kind: {name!r} is unknown; allowed are {', '.join(KINDS)}")


def _days(days: Sequence[int]) -> str:
    if not days:
        return "no day"
    return f"day {days[0]}" if len(days) == 1 else f"{len(days)} days, {days[0]} to {days[-1]}"


def _when(moment: float | None) -> str:
    return "unknown" if moment is None else datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M")


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
