"""A store: what several runs have in common is made once, lies there under its content key, and is found by it.

<store>/days/key=<key>/day=005/…                    partitions and their schema.json
<store>/vocabulary/key=<key>/day=005/…
<store>/feedback/key=<key>/day=005/…
<store>/fm/key=<key>/snapshots/<fm>/day=005/…       and checkpoints/<fm>/…
<store>/supervision/key=<key>/day=005/…
<store>/<kind>/key=<key>.json                       what the key is the key of, and which run used it last
"""

from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from exfm_ray.data.location import Location

Kind = Literal["days", "vocabulary", "feedback", "fm", "supervision"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""in the order in which one is made of the others"""


@dataclass(frozen=True)
class Store:
    """Names inside `--store`."""

    root: Location

    def place(self, kind: Kind, key: str) -> Location:
        return self.root / kind / f"key={key}"

    def note(self, kind: Kind, key: str) -> Location:
        """Written anew by each run that uses the work, so its time of change is when it was last used."""
        return self.root / kind / f"key={key}.json"

    def lock(self, kind: Kind, key: str, why: Literal["making", "using"]) -> Location:
        """A file to lock, in a local store."""
        return self.root / kind / f"key={key}.{why}"


class StoredWork(BaseModel):
    """Work of one kind that a run finds in the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    first_day: int
    last_day: int
    """that this run needs; other runs may have made more"""


class Stored(BaseModel):
    """Which work of a run lies in a store; part of its `recipe.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str
    begun: float
    """seconds since the Unix epoch; what was made earlier, other runs have made"""
    work: dict[Kind, StoredWork]

    def place(self, kind: Kind) -> Location | None:
        """Where work of a kind lies; None: not in the store."""
        work = self.work.get(kind)
        return Store(Location(self.store)).place(kind, work.key) if work is not None else None

    def needs(self, kind: Kind, day: int) -> bool:
        """Whether this run is meant by a day that lies in the store."""
        work = self.work.get(kind)
        return work is None or work.first_day <= day <= work.last_day
