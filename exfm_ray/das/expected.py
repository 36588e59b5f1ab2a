"""What a service was started for: a snapshot of anything else is refused."""

from dataclasses import dataclass

from exfm_ray.data.snapshots import SnapshotFacts
from exfm_ray.errors import DataError
from exfm_ray.schema import Schema


@dataclass(frozen=True)
class Expected:
    """Inputs and tasks that every snapshot must have. Plain values, so that it travels to any process."""

    inputs: str
    """fingerprint of the schema, whatever its vocabularies know"""
    tasks: tuple[str, ...]

    @classmethod
    def of(cls, inputs: Schema, tasks: tuple[str, ...]) -> "Expected":
        return cls(inputs.unsized().fingerprint(), tasks)

    def check(self, facts: SnapshotFacts) -> None:
        """Nothing happens where a snapshot is as expected.

        Raises:
            DataError: it reads other inputs or predicts other tasks.
        """
        if (found := facts.inputs.unsized().fingerprint()) != self.inputs:
            raise DataError(f"it reads inputs of schema {found}, and those here have schema {self.inputs}")
        if facts.tasks != self.tasks:
            raise DataError(f"it predicts {', '.join(facts.tasks)}, and {', '.join(self.tasks)} is asked here")
