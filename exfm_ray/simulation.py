"""The day loop: the picture of the design as code.

Every step waits for what it needs to be committed and commits what it makes, so the steps run beside each other,
any of them may be killed at any time, and the same command goes on from what is there.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from rich.console import Console

from exfm_ray.cluster import SharedCluster, check_address, machine_memory, shared_cluster
from exfm_ray.config import DataConfig, DriftData, Recipe
from exfm_ray.data.commit import committed
from exfm_ray.data.dataset import Dataset, open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.prepare import WORK, Spread, prepare
from exfm_ray.data.run_directory import Outcome, RunDirectory
from exfm_ray.data.source import most_pieces
from exfm_ray.preflight import check_memory, check_recipe
from exfm_ray.progress import watching
from exfm_ray.quiet import quieten
from exfm_ray.run_progress import run_phases
from exfm_ray.run_start import claim_run, holding
from exfm_ray.shared_directory import check_shared
from exfm_ray.together import together

ROWS_WORTH_SPREADING = 2_000_000
"""per day; below that, starting processes costs more than they save"""

WITHDRAW_SECONDS = 20.0
"""for a cluster to hear that replicas are not needed any more; one that is gone does not answer"""


def simulate(recipe: Recipe, run: RunDirectory, address: str | None, console: Console) -> None:
    """Run a recipe to its results, or go on with a run that was interrupted.

    Args:
        address: of a Ray cluster; None starts one on this machine.

    Raises:
        UserError: the recipe does not fit its data or this machine, the cluster or the pointer's store does not answer,
            or the run directory holds another recipe. Nothing is written.
    """
    data = open_dataset(recipe.data)
    check_recipe(recipe, data)
    check_doors(recipe, address)
    if address is None:
        check_memory(recipe, data, machine_memory())
    with shared_cluster((recipe,), address) as cluster:
        simulate_on(data, recipe, run, cluster, console)


def check_doors(recipe: Recipe, address: str | None) -> None:
    """Knock where a run will have to go in.

    Raises:
        UserError: the cluster or the pointer's store does not answer.
    """
    from exfm_ray.das.pointer_at import check_pointer

    check_address(address)
    check_pointer(recipe.das.pointer)


def simulate_on(
    data: Dataset,
    recipe: Recipe,
    run: RunDirectory,
    cluster: SharedCluster,
    console: Console,
    vocabulary: Location | None = None,
) -> None:
    """`simulate`, after its checks.

    Args:
        vocabulary: where the ids are counted for several runs; None counts them in this one.
    """
    with holding(run.root):
        claim_run(run, recipe, data.prepared, vocabulary)
        experiment = Experiment(
            recipe=recipe,
            root=run.root.uri,
            dataset=run.days.uri,
            data_schema=data.schema,
            days=data.days,
            shared_vocabulary=run.vocabulary.uri,
        )
        with watching(run_phases(experiment, data.source), console):
            if not is_finished(experiment):
                produce(experiment, data, cluster)
        write_results(experiment)


def produce(experiment: Experiment, data: Dataset, cluster: SharedCluster | None) -> None:
    """Days → vocabularies → labels in time → FM → supervision → VMs.

    Args:
        cluster: None where the recipe asks for local mode.
    """
    logs = experiment.run.local_directory() / "logs"
    quieten(logs)
    if experiment.recipe.resources.mode == "local":
        _prepare_days(experiment, data, map)
        _count_vocabularies(experiment)
        _join_feedback(experiment)
        _train_foundation_model(experiment)
        _augment_days(experiment)
        _train_vertical_models(experiment, workers=1)
        return
    assert cluster is not None, "only local mode needs no cluster"
    workers = cluster.fleet_workers(experiment.recipe, logs)
    if cluster.outlives_command:
        check_shared(experiment.run)
    spread: Spread = cluster.spread(logs) if is_large(experiment.recipe.data, data) else map
    with _leaving_no_replicas(experiment, cluster):
        together(
            partial(_prepare_days, experiment, data, spread),
            partial(_count_vocabularies, experiment),
            partial(_join_feedback, experiment),
            partial(_train_foundation_model, experiment),
            partial(_augment_days, experiment),
            partial(_train_vertical_models, experiment, workers),
        )


@contextmanager
def _leaving_no_replicas(experiment: Experiment, cluster: SharedCluster) -> Iterator[None]:
    """Where a step fails, the one that serves the FM is not ended; on a cluster that stays, its replicas would too."""
    from exfm_ray.das.deployment import withdraw

    try:
        yield
    except BaseException:
        if cluster.outlives_command:
            ending = threading.Thread(target=withdraw, args=(experiment,), daemon=True)
            ending.start()
            ending.join(WITHDRAW_SECONDS)
        raise


def is_large(config: DataConfig, data: Dataset) -> bool:
    """Whether days are worth the processes of a cluster to be made in."""
    if isinstance(config, DriftData):
        return config.events_per_day > ROWS_WORTH_SPREADING
    return data.source is not None and most_pieces(data.source) > 1


def _prepare_days(experiment: Experiment, data: Dataset, spread: Spread) -> None:
    if data.source is not None:
        dataset = Location(experiment.dataset)
        prepare(data.source, dataset, spread=spread)
        (dataset / WORK).delete()


def _count_vocabularies(experiment: Experiment) -> None:
    from exfm_ray.data.counting import count_days

    count_days(experiment)


def _join_feedback(experiment: Experiment) -> None:
    from exfm_ray.das.feedback import join_days

    join_days(experiment)


def _train_foundation_model(experiment: Experiment) -> None:
    from exfm_ray.train.launch import train_foundation_model

    if committed(experiment.snapshots.day(experiment.fm_days[-1])) is None:
        train_foundation_model(experiment)


def _augment_days(experiment: Experiment) -> None:
    from exfm_ray.das.augmentation import augment_days
    from exfm_ray.das.deployment import serving
    from exfm_ray.das.pointer_at import pointer_at

    if all(committed(experiment.supervision(day)) for day in experiment.supervised_days):
        return
    address = experiment.pointer
    with closing(pointer_at(address)) as pointer, serving(experiment, address) as (application, handle):
        augment_days(experiment, application, pointer, handle)


def _train_vertical_models(experiment: Experiment, workers: int) -> None:
    from exfm_ray.train.launch import train_vertical_models

    train_vertical_models(experiment, workers)


def is_finished(experiment: Experiment) -> bool:
    """Whether every line of results.jsonl has been made."""
    return all(place.is_file() for place in experiment.outcome_files())


def write_results(experiment: Experiment) -> None:
    """Collect the evaluated days into results.jsonl; the same lines give the same bytes."""
    outcomes = [Outcome.model_validate_json(place.read()) for place in experiment.outcome_files()]
    lines = [json.dumps(outcome.line, allow_nan=False) + "\n" for outcome in outcomes]
    experiment.run.results_file.write("".join(lines).encode())
