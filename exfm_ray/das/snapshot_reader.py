"""How a replica reads a snapshot: only one that it expects, and through the node's cache."""

from dataclasses import dataclass

from exfm_ray.das.expected import Expected
from exfm_ray.das.node_cache import NodeCache
from exfm_ray.data.commit import CommittedFile, read_file
from exfm_ray.data.snapshots import SnapshotDatabase, SnapshotFacts, mapped, parsed, restored
from exfm_ray.data.vocabulary import Vocabularies, vocabularies_in
from exfm_ray.models.model import Model


@dataclass(frozen=True)
class Snapshot:
    """One that was read: a whole model, on the CPU and ready to predict."""

    facts: SnapshotFacts
    model: Model
    vocabularies: Vocabularies
    """of its counted features"""
    sha256: str
    """of its file of parameters, its name in the node's cache"""


@dataclass(frozen=True)
class SnapshotReader:
    """Reads of one database."""

    snapshots: SnapshotDatabase
    expected: Expected | None = None
    """None: any snapshot will do"""
    cache: NodeCache | None = None
    """None: read from storage into memory of this process's own"""

    def read(self, day: int) -> Snapshot:
        """A published snapshot. With a cache its tables are mapped, and lie in memory once for the whole node.

        Raises:
            DataError: it is not published, not as expected, not understood, not as it was committed, or does not fit
                its model.
        """
        facts, file = self.snapshots.described(day)
        if self.expected is not None:
            self.expected.check(facts)
        model, vocabularies = self._restored(facts, file)
        return Snapshot(facts, model, vocabularies, file.sha256)

    def _restored(self, facts: SnapshotFacts, file: CommittedFile) -> tuple[Model, Vocabularies]:
        directory = self.snapshots.directory(facts.trained_through)
        if self.cache is None:
            tensors = parsed(read_file(directory, file))
            return restored(facts, tensors), vocabularies_in(tensors, facts.inputs)
        with self.cache.file(directory / file.name, file) as path:
            tensors = mapped(path)
            return restored(facts, tensors), vocabularies_in(tensors, facts.inputs)
