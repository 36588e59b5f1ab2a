"""What the work that runs may have in common is made of: all that decides its bytes, and nothing else.

Whatever a recipe says elsewhere (its name, the VMs' models and optimizers, methods, seeds, distillation, most of `das`,
`resources`) decides none of it. What is written here as "all but" a field also holds for fields that are new one day.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from exfm_ray.config import DataConfig, DriftData, KuaiRandData
from exfm_ray.data.commit import require
from exfm_ray.data.dataset import Dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.logs.input_files import identity
from exfm_ray.data.source import StagedSource
from exfm_ray.data.store.code_digest import code_digest
from exfm_ray.data.store.content_key import content_key
from exfm_ray.data.store.stored import Kind

DATA_CODE = ("config", "data", "schema.py")
DATA_PACKAGES = ("numpy", "pandas", "pyarrow")
TRAINING_CODE = (*DATA_CODE, "models", "train")
TRAINING_PACKAGES = (*DATA_PACKAGES, "torch")


@dataclass(frozen=True)
class Work:
    """Work of one kind, and the days of it that a run needs."""

    kind: Kind
    made_of: Mapping[str, Any]
    days: range

    @cached_property
    def key(self) -> str:
        return content_key({"kind": self.kind, **self.made_of})


def days_work(config: DataConfig, data: Dataset) -> Work:
    """Day partitions.

    Days of the drifting stream do not depend on how many there are. Those of raw files depend on the files' names,
    sizes and times of change. Prepared days are known by the checksums of their own files, wherever they lie.
    """
    days = range(1, data.days + 1)
    if data.prepared is not None:
        return Work("days", {"schema": data.schema.fingerprint(), "files": _checksums(data.prepared, days)}, days)
    but = {"days"} if isinstance(config, DriftData) else {"path"}
    made_of = {
        "data": config.model_dump(mode="json", exclude=but),
        "inputs": _inputs(config, data),
        "made_by": _made_by(DATA_CODE, DATA_PACKAGES),
    }
    return Work("days", made_of, days)


def common_work(experiment: Experiment, days: Work) -> tuple[Work, ...]:
    """All that a simulation makes of its days and may have in common with others.

    Args:
        days: what it is made of in the end.
    """
    found = [_vocabulary_work(experiment, days), _feedback_work(experiment, days)]
    keys: dict[str, str] = {"days": days.key, **{work.kind: work.key for work in found if work is not None}}
    fm = _fm_work(experiment, keys)
    return tuple(work for work in (*found, fm, _supervision_work(experiment, fm)) if work is not None)


def _vocabulary_work(experiment: Experiment, days: Work) -> Work | None:
    config = experiment.recipe.vocabulary
    if config is None:
        return None
    made_of = {
        "days": days.key,
        "vocabulary": config.model_dump(mode="json", exclude={"through_day"}),
        "through_day": None if config.grow else experiment.recipe.counted_through_day,
        "made_by": _made_by(DATA_CODE, DATA_PACKAGES),
    }
    return Work("vocabulary", made_of, experiment.counted_days)


def _feedback_work(experiment: Experiment, days: Work) -> Work | None:
    config = experiment.recipe.das.feedback
    if config is None:
        return None
    made_of = {
        "days": days.key,
        "feedback": config.model_dump(mode="json", exclude={"windows"}),
        "windows": {task: config.window(task) for task in experiment.data_schema.tasks},
        "made_by": _made_by((*DATA_CODE, "das/join.py", "das/feedback.py"), DATA_PACKAGES),
    }
    joined = experiment.joined_days
    return Work("feedback", made_of, range(joined[0], joined[-1] + 1))


def _fm_work(experiment: Experiment, keys: Mapping[str, str]) -> Work:
    """The FM's snapshots and its newest checkpoint. Its name is in the draw of its first parameters."""
    made_of: dict[str, Any] = {
        **keys,
        "fm": experiment.recipe.fm.model_dump(mode="json", exclude={"staleness_days"}),
        "on_gpu": experiment.recipe.resources.gpus_per_fm > 0,
        "made_by": _made_by(TRAINING_CODE, TRAINING_PACKAGES),
    }
    return Work("fm", made_of, experiment.fm_days)


def _supervision_work(experiment: Experiment, fm: Work) -> Work:
    """Which rows go into one request decides how sums over them are rounded, as does the precision, and who reads them
    decides which rows they are."""
    recipe = experiment.recipe
    made_of = {
        "fm": fm.key,
        "staleness_days": recipe.fm.staleness_days,
        "rows_per_request": recipe.das.rows_per_request,
        "precision": recipe.das.precision,
        "read_by_vms": sorted({(vm.domain, vm.stage) for vm in recipe.vms}),
        "made_by": _made_by((*TRAINING_CODE, "das"), TRAINING_PACKAGES),
    }
    return Work("supervision", made_of, experiment.supervised_days)


def _made_by(rooms: tuple[str, ...], packages: tuple[str, ...]) -> dict[str, Any]:
    """Other code, other versions or another kind of processor may give other numbers, so they are never mixed."""
    versions = {package: version(package) for package in packages}
    return {"code": code_digest(*rooms), "versions": versions, "machine": platform.machine()}


def _checksums(dataset: Location, days: range) -> list[list[tuple[int, *tuple[str, ...]]]]:
    return [[(file.rows, *file.checksums) for file in require(dataset.day(day)).files] for day in days]


def _inputs(config: DataConfig, data: Dataset) -> list[str]:
    """Changes with the raw files; empty for a stream, which has none."""
    if isinstance(data.source, StagedSource):
        return [stage.name for stage in data.source.stages()]
    if isinstance(config, KuaiRandData):
        from exfm_ray.data.kuairand.tables import find_tables

        tables = find_tables(config)
        files = [*tables.logs, tables.users, tables.videos, *([tables.warmup] if tables.warmup else [])]
        return [identity(files, "")]
    return []
