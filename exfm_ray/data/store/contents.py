"""What a store holds, told from one listing per kind and work, and what of it nobody has used for long."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pyarrow import fs

from exfm_ray.data.commit import MANIFEST
from exfm_ray.data.location import Location
from exfm_ray.data.store.stored import KINDS, Kind, Store
from exfm_ray.data.store.turns import deleting
from exfm_ray.errors import UserError

KEY = re.compile(r"key=([0-9a-f]{64})")
DAY = re.compile(r"/day=([0-9]{3,})/" + re.escape(MANIFEST) + "$")
CHECKPOINTS = "/checkpoints/"
"""of which only the newest stays, so that they do not tell which days there are"""
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class StoredThing:
    """Work under one key."""

    kind: Kind
    key: str
    days: tuple[int, ...]
    bytes: int
    made: float | None
    """when its newest day was committed, seconds since the Unix epoch; None: nothing is committed"""
    used: float | None
    """when a run that uses it was last begun or continued; None: not known"""

    def unused_days(self, now: float) -> float | None:
        """For how long; None where neither use nor commit is known."""
        known = [moment for moment in (self.made, self.used) if moment is not None]
        return (now - max(known)) / SECONDS_PER_DAY if known else None


def contents(store: Store) -> Iterator[StoredThing]:
    """All work, the kinds in the order in which one is made of the others.

    Raises:
        UserError: there is no store.
    """
    if not any((store.root / kind).is_directory() for kind in KINDS):
        raise UserError(f"STORE: {store.root} is no store; give the --store of an exfm run")
    for kind in KINDS:
        for child in (store.root / kind).children():
            if (match := KEY.fullmatch(child.name)) is not None and child.is_directory():
                yield _thing(store, kind, match[1])


def _thing(store: Store, kind: Kind, key: str) -> StoredThing:
    files = _files(store.place(kind, key))
    manifests = [info for info in files if DAY.search(info.path) and CHECKPOINTS not in info.path]
    days = sorted(int(match[1]) for info in manifests if (match := DAY.search(info.path)))
    moments = [moment for info in manifests if (moment := _seconds(info.mtime)) is not None]
    system, path = store.note(kind, key).opened()
    used = _seconds(system.get_file_info(path).mtime)
    return StoredThing(kind, key, tuple(days), sum(info.size or 0 for info in files), max(moments, default=None), used)


def _files(place: Location) -> list[fs.FileInfo]:
    system, path = place.opened()
    found = system.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=True))
    return [info for info in found if info.type == fs.FileType.File]


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


def delete(store: Store, thing: StoredThing) -> bool:
    """Delete work, unless a run on this machine uses it; its days cease to exist before their files go.

    Returns:
        whether it is gone.
    """
    with deleting(store.lock(thing.kind, thing.key, "using")) as is_free:
        if is_free:
            place = store.place(thing.kind, thing.key)
            system, _ = place.opened()
            for info in _files(place):
                if info.base_name == MANIFEST:
                    system.delete_file(info.path)
            place.delete()
            store.note(thing.kind, thing.key).delete()
    return is_free
