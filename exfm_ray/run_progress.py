"""What a run has to commit, for the display of its progress."""

from exfm_ray.cascade.plan import cascade_files
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import Outcome
from exfm_ray.data.source import DaySource
from exfm_ray.progress import Phase, day_phases, manifest_rows


def run_phases(experiment: Experiment, source: DaySource | None) -> list[Phase]:
    """All that a run has to commit, in the order of the picture.

    Args:
        source: of the days; None where they are there.
    """
    vocabularies = [experiment.vocabulary.day(day) for day in experiment.counted_days]
    feedback = [place for day in experiment.joined_days if (place := experiment.feedback(day)) is not None]
    fm = [experiment.snapshots.day(day) for day in experiment.fm_days]
    supervision = [experiment.supervision(day) for day in experiment.supervised_days]
    found = [
        Phase("count the vocabularies", "days", vocabularies, manifest_rows),
        Phase("join the feedback", "days", feedback, manifest_rows),
        Phase("train the FM", "days", fm, manifest_rows),
        Phase("supervise", "days", supervision, manifest_rows),
        Phase("train and evaluate VMs", "VM days", experiment.outcome_files(), _outcome_rows),
        Phase("evaluate the cascades", "cascade days", cascade_files(experiment), _requests),
    ]
    prepared = day_phases(source, Location(experiment.dataset), experiment.run.work) if source is not None else []
    return [*prepared, *(phase for phase in found if phase.places)]


def _outcome_rows(place: Location) -> int | None:
    return int(Outcome.model_validate_json(place.read()).line["rows"]) if place.is_file() else None


def _requests(place: Location) -> int | None:
    return int(Outcome.model_validate_json(place.read()).line["requests"]) if place.is_file() else None
