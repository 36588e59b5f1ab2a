"""A run's part in a store: which work it takes from there or adds to it, and that nobody deletes it meanwhile."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from exfm_ray.config import DataConfig, ResourcesConfig
from exfm_ray.data.commit import MANIFEST
from exfm_ray.data.dataset import Dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.store.made_of import Work, common_work, days_work
from exfm_ray.data.store.stored import Kind, Store, Stored, StoredWork
from exfm_ray.data.store.turns import turn, using
from exfm_ray.errors import UserError

WHAT: dict[Kind, str] = {
    "days": "the days",
    "vocabulary": "the vocabularies",
    "feedback": "the feedback join",
    "fm": "the FM",
    "supervision": "the supervision",
}


@dataclass(frozen=True)
class Sharing:
    """What a simulation is told of the store."""

    store: Store
    days: Work
    keeps_days: bool
    """whether the days lie in the store; they do not where they were prepared elsewhere"""
    begun: float
    """when the run began, of which the simulation may be a part; seconds since the Unix epoch"""

    def work(self, experiment: Experiment) -> tuple[Work, ...]:
        """All that the simulation shares."""
        return (*self.kept_days, *common_work(experiment, self.days))

    @property
    def kept_days(self) -> tuple[Work, ...]:
        return (self.days,) if self.keeps_days else ()

    def stored(self, work: Iterable[Work]) -> Stored:
        """What `recipe.yaml` says of work in the store."""
        found = {each.kind: StoredWork(key=each.key, first_day=each.days[0], last_day=each.days[-1]) for each in work}
        return Stored(store=self.store.root.uri, begun=round(self.begun, 3), work=found)


def sharing_of(store: Location | None, config: DataConfig, data: Dataset) -> Sharing | None:
    """None without a store.

    Raises:
        UserError: the store cannot be written, or is a file. Nothing is written.
    """
    if store is None:
        return None
    _check(store)
    return Sharing(Store(store), days_work(config, data), keeps_days=data.prepared is None, begun=time.time())


def _check(store: Location) -> None:
    if not store.is_local:
        return
    if store.is_file():
        raise UserError(f"--store: {store} is a file; name a directory")
    place = store.uri
    while not os.path.exists(place):
        place = os.path.dirname(place)
    if not (os.path.isdir(place) and os.access(place, os.W_OK)):
        raise UserError(f"--store: {store} cannot be written ({place} is not yours to write); name another")


def in_turn(experiment: Experiment, kind: Kind, tell: Callable[[str], None], step: Callable[[], None]) -> None:
    """Do a step that makes work of a kind, once no other run on this machine makes it, or has made all of it.

    Args:
        tell: says a line to the user.
    """
    making = making_turn(experiment.stored, kind, _pieces(experiment, kind), experiment.recipe.resources, tell)
    with making:
        step()


def making_turn(
    stored: Stored | None,
    kind: Kind,
    pieces: Sequence[Location],
    resources: ResourcesConfig,
    tell: Callable[[str], None],
) -> AbstractContextManager[None]:
    """As `turn`, for work that lies in a store or does not.

    Args:
        pieces: directories that will be committed.
    """
    work = stored.work.get(kind) if stored is not None else None
    lock = Store(Location(stored.store)).lock(kind, work.key, "making") if stored and work else None

    def left() -> int:
        return sum(not (piece / MANIFEST).is_file() for piece in pieces)

    return turn(lock, left, resources.wait_timeout_seconds, WHAT[kind], tell)


def _pieces(experiment: Experiment, kind: Kind) -> list[Location]:
    """All that a run needs of a kind."""
    if kind == "days":
        return [Location(experiment.dataset).day(day) for day in range(1, experiment.days + 1)]
    if kind == "vocabulary":
        return [experiment.vocabulary.day(day) for day in experiment.counted_days]
    if kind == "feedback":
        return [place for day in experiment.joined_days if (place := experiment.feedback(day)) is not None]
    if kind == "fm":
        return [experiment.snapshots.day(day) for day in experiment.fm_days]
    return [experiment.supervision(day) for day in experiment.supervised_days]


@contextmanager
def in_use(store: Store, work: Iterable[Work], run: Location) -> Iterator[None]:
    """Say what each work is made of and that a run uses it now; nothing of it is deleted inside the block."""
    with ExitStack() as stack:
        for each in work:
            stack.enter_context(using(store.lock(each.kind, each.key, "using")))
            note = {"made_of": each.made_of, "used_by": run.uri, "used_at": round(time.time(), 3)}
            store.note(each.kind, each.key).write(json.dumps(note, indent=1).encode())
        yield
