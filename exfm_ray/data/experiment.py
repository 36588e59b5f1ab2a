"""A recipe bound to a run directory and a data set: the clock of design, and who reads what."""

import hashlib
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from exfm_ray.config import PublicData, Recipe, VariantConfig, VerticalModelConfig
from exfm_ray.data.commit import committed
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory, snapshot_identity
from exfm_ray.data.store.stored import Kind, Stored
from exfm_ray.data.traffic import Traffic
from exfm_ray.schema import Schema


class Experiment(BaseModel):
    """Plain values, so that it travels to any process as JSON.

    The clock: FM(t) is trained through day t. FM(t − 1 − staleness) supervises D(t). A VM trained through day t is
    evaluated on D(t + 1).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    root: str
    dataset: str
    data_schema: Schema
    days: int
    shared_vocabulary: str | None = None
    """where the vocabularies of several runs are; None: in the run"""
    stored: Stored | None = None
    """the work that lies in a store; None: all in the run"""

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(Location(self.root))

    @property
    def name(self) -> str:
        """Tells this run from others on the same cluster and in the same store."""
        return f"exfm-{hashlib.sha256(self.root.encode()).hexdigest()[:12]}"

    @property
    def pointer(self) -> str:
        """Address of the latest pointer, of this run alone."""
        shared = self.recipe.das.pointer
        if shared:
            return f"{shared.rstrip('/')}/{self.name}"
        if self.run.root.is_local or self.recipe.resources.mode == "local":
            return str(self.run.local_directory() / "pointer")
        return f"cluster:/{self.name}"  # nodes that share a bucket share no file that they could lock

    @property
    def snapshots(self) -> Location:
        """The FM's snapshot database."""
        return self._fm_home.snapshots(self.recipe.fm.name)

    @property
    def fm_checkpoints(self) -> Location:
        return self._fm_home.checkpoints(self.recipe.fm.name)

    @property
    def _fm_home(self) -> RunDirectory:
        return RunDirectory(self._in_store("fm") or Location(self.root))

    def _in_store(self, kind: Kind) -> Location | None:
        return self.stored.place(kind) if self.stored is not None else None

    def snapshot_identity(self, day: int) -> str:
        """How supervision names FM(day)."""
        return snapshot_identity(self.snapshots, day)

    @property
    def fm_days(self) -> range:
        """Days that the FM is trained on; the last is the one that the last day's supervision needs."""
        return range(self.recipe.fm.train_from_day, self.supervising_snapshot(self.days) + 1)

    @property
    def supervised_days(self) -> range:
        """Days that VMs read; on the last one they are only evaluated, and the FM beside them."""
        return range(self.recipe.first_vm_day, self.days + 1)

    @property
    def vm_days(self) -> range:
        """Days that VMs are trained on."""
        return range(self.recipe.first_vm_day, self.days)

    def batch_rows(self, batch_size: int) -> int:
        """Rows of a training batch, fewer than the recipe says where a smaller stream stands in for its data."""
        data = self.recipe.data
        return data.batch_rows(batch_size) if isinstance(data, PublicData) else batch_size

    def supervising_snapshot(self, day: int) -> int:
        """The day through which the FM that supervises D(day) is trained."""
        return self.recipe.supervising_snapshot(day)

    @property
    def lacking_snapshots(self) -> list[int]:
        """Days through which an FM is trained that is still to supervise and not published, in order."""
        unsupervised = (day for day in self.supervised_days if committed(self.supervision(day)) is None)
        needed = (self.supervising_snapshot(day) for day in unsupervised)
        return [day for day in needed if committed(self.snapshots.day(day)) is None]

    def supervision(self, day: int) -> Location:
        own = Location(self.root) / "supervision" / self.recipe.fm.name
        return (self._in_store("supervision") or own).day(day)

    def feedback(self, day: int) -> Location | None:
        """The labels that models train on; None where they are those of the partition, complete."""
        if self.recipe.das.feedback is None:
            return None
        return (self._in_store("feedback") or Location(self.root) / "feedback").day(day)

    @property
    def joined_days(self) -> list[int]:
        """Days whose labels are joined: those that a model trains on, where there is a feedback window."""
        return sorted({*self.fm_days, *self.vm_days}) if self.recipe.das.feedback is not None else []

    @property
    def vocabulary(self) -> Location:
        """What is known of the ids by the end of each day."""
        return Location(self.shared_vocabulary) if self.shared_vocabulary else Location(self.root) / "vocabulary"

    @property
    def inputs(self) -> Schema:
        """The features as models read them: as the data's schema says, or by vocabularies, which are still empty."""
        config = self.recipe.vocabulary
        return self.data_schema if config is None else self.data_schema.counted(but=config.hashed)

    @property
    def counted_days(self) -> range:
        """Days whose ids are counted; empty where the recipe has no vocabularies."""
        if self.recipe.vocabulary is None:
            return range(0)
        return range(1, self.vocabulary_day(max((*self.fm_days, *self.vm_days), default=0)) + 1)

    def vocabulary_day(self, day: int) -> int:
        """The last day that the vocabulary has seen with which a model is trained on a day; 0: none."""
        return self.recipe.vocabulary_day(day)

    def outcome_files(self, variants: Sequence[VariantConfig] | None = None) -> list[Location]:
        """One per variant and evaluated day, in this order.

        Args:
            variants: those of the recipe where they are left out; then there is one file per line of results.jsonl.
        """
        return [
            self.run.outcome_file(variant.vm.name, variant.method, variant.seed, day)
            for variant in (self.recipe.variants() if variants is None else variants)
            for day in self.supervised_days[1:]
        ]

    def fm_traffic(self) -> Traffic:
        """All rows, all features but those that the recipe keeps from the FM."""
        schema = self.inputs.without(self.recipe.fm.exclude)
        return Traffic(Location(self.dataset), schema, schema.tasks)

    def vm_traffic(self, vm: VerticalModelConfig) -> Traffic:
        """The VM's domain, stage and task, without the features that only the FM reads."""
        stage = self.data_schema.stages.index(vm.stage)
        return Traffic(Location(self.dataset), self.inputs.for_vm(), (vm.task,), vm.domain, stage)
