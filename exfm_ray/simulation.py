"""The day loop: the picture of the design as code.

Every step waits for what it needs to be committed and commits what it makes, so the steps run beside each other,
any of them may be killed at any time, and the same command goes on from what is there.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import cast

from rich.console import Console

from exfm_ray.cascade.plan import cascade_files
from exfm_ray.cluster import SharedCluster, check_address, shared_cluster
from exfm_ray.config import DataConfig, DriftData, Recipe, VerticalModelConfig
from exfm_ray.data.commit import Stopwatch, committed
from exfm_ray.data.dataset import Dataset, open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.prepare import Spread, prepare
from exfm_ray.data.run_clock import note_start, noted_command
from exfm_ray.data.run_directory import RunDirectory, read_outcome
from exfm_ray.data.source import most_pieces
from exfm_ray.data.store.stored import Kind
from exfm_ray.needs import machine_memory
from exfm_ray.preflight import check_memory, check_recipe
from exfm_ray.progress import watching
from exfm_ray.quiet import quieten
from exfm_ray.run_progress import run_phases
from exfm_ray.run_start import claim_run, holding
from exfm_ray.shared_directory import check_shared
from exfm_ray.sharing import Sharing, in_turn, in_use, sharing_of
from exfm_ray.together import together

ROWS_WORTH_SPREADING = 2_000_000
"""per day; below that, starting processes costs more than they save"""

WITHDRAW_SECONDS = 20.0
"""for a cluster to hear that replicas are not needed any more; one that is gone does not answer"""


def simulate(
    recipe: Recipe, run: RunDirectory, address: str | None, console: Console, store: Location | None = None
) -> None:
    """Run a recipe to its results, or go on with a run that was interrupted.

    Args:
        address: of a Ray cluster; None starts one on this machine.
        store: where work lies that runs have in common; None: all is in the run.

    Raises:
        UserError: the recipe does not fit its data or this machine, the cluster or the pointer's store does not answer,
            or the run directory holds another recipe. Nothing is written.
    """
    data = open_dataset(recipe.data)
    check_recipe(recipe, data)
    check_doors(recipe, address)
    sharing = sharing_of(store, recipe.data, data)
    if address is None:
        check_memory(recipe, data, machine_memory())
    with shared_cluster((recipe,), address) as cluster:
        simulate_on(data, recipe, run, cluster, console, sharing=sharing)


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
    sharing: Sharing | None = None,
) -> Experiment:
    """`simulate`, after its checks; returns what has run.

    Args:
        vocabulary: where the ids are counted for several runs; None counts them in this one.
        sharing: the store of work that runs have in common; None: all is in the run.
    """
    experiment = Experiment(
        recipe=recipe, root=run.root.uri, dataset=run.root.uri, data_schema=data.schema, days=data.days
    )
    with ExitStack() as held:
        held.enter_context(holding(run.root))
        if sharing is None:
            claim_run(run, recipe, data.prepared, vocabulary)
        else:
            work = sharing.work(experiment)
            claim_run(run, recipe, data.prepared, vocabulary, sharing.stored(work))
            held.enter_context(in_use(sharing.store, work, run.root))
        places = {"dataset": run.days.uri, "shared_vocabulary": run.vocabulary.uri, "stored": run.stored}
        experiment = experiment.model_copy(update=places)
        with watching(run_phases(experiment, data.source), console):
            if not is_finished(experiment):
                with noted_command(run):
                    produce(experiment, data, cluster, partial(console.print, highlight=False, soft_wrap=True))
        write_results(experiment)
    return experiment


def in_silence(line: str) -> None:
    """For callers that need no word."""


def produce(
    experiment: Experiment, data: Dataset, cluster: SharedCluster | None, tell: Callable[[str], None] = in_silence
) -> None:
    """Days → vocabularies → labels in time → FM → supervision → VMs → cascades of VMs.

    Args:
        cluster: None where the recipe asks for local mode.
        tell: says a line to the user.
    """
    logs = experiment.run.local_directory() / "logs"
    is_local, workers, spread = experiment.recipe.resources.mode == "local", 1, cast(Spread, map)
    everywhere = spread
    if not is_local:
        assert cluster is not None, "only local mode needs no cluster"
        asked = Stopwatch(time.time())
        workers = cluster.fleet_workers(experiment.recipe, logs)
        note_start(experiment.run, "ray", "ray", asked)
        everywhere = cluster.spread(logs)
        if cluster.outlives_command:
            check_shared(experiment.run)
        spread = everywhere if is_large(experiment.recipe.data, data) else map
    else:
        quieten(logs)
    common: dict[Kind, Callable[[], None]] = {
        "days": partial(_prepare_days, experiment, data, spread),
        "vocabulary": partial(_count_vocabularies, experiment),
        "feedback": partial(_join_feedback, experiment),
        "fm": partial(_train_foundation_model, experiment),
        "supervision": partial(_augment_days, experiment),
    }
    steps = [partial(in_turn, experiment, kind, tell, step) for kind, step in common.items()]
    steps.append(partial(_train_vertical_models, experiment, workers))
    steps += [partial(_train_with_several_workers, experiment, vm) for vm in experiment.recipe.team_vms()]
    if is_local:
        for step in steps:
            step()
    else:
        with _leaving_no_replicas(experiment, cluster):
            together(*steps)
    _evaluate_cascades(experiment, everywhere)


@contextmanager
def _leaving_no_replicas(experiment: Experiment, cluster: SharedCluster | None) -> Iterator[None]:
    """Where a step fails, the one that serves the FM is not ended; on a cluster that stays, its replicas would too."""
    from exfm_ray.das.deployment import withdraw

    try:
        yield
    except BaseException:
        if cluster is not None and cluster.outlives_command:
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
        work = experiment.run.work
        prepare(data.source, Location(experiment.dataset), spread=spread, work=work)
        work.delete()


def _count_vocabularies(experiment: Experiment) -> None:
    from exfm_ray.data.counting import count_days

    count_days(experiment)


def _join_feedback(experiment: Experiment) -> None:
    from exfm_ray.das.feedback import join_days

    join_days(experiment)


def _train_foundation_model(experiment: Experiment) -> None:
    from exfm_ray.train.launch import train_foundation_model

    if experiment.lacking_snapshots:
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

    if not all(place.is_file() for place in experiment.outcome_files(experiment.recipe.fleet_variants())):
        train_vertical_models(experiment, workers)


def _train_with_several_workers(experiment: Experiment, vm: VerticalModelConfig) -> None:
    from exfm_ray.train.launch import train_with_several_workers

    variants = [variant for variant in experiment.recipe.variants() if variant.vm.name == vm.name]
    if not all(place.is_file() for place in experiment.outcome_files(variants)):
        train_with_several_workers(experiment, vm)


def _evaluate_cascades(experiment: Experiment, spread: Spread) -> None:
    from exfm_ray.cascade.evaluate import evaluate_cascades

    evaluate_cascades(experiment, spread)


def is_finished(experiment: Experiment) -> bool:
    """Whether every line of results.jsonl and of cascade.jsonl has been made."""
    return all(place.is_file() for place in [*experiment.outcome_files(), *cascade_files(experiment)])


def write_results(experiment: Experiment) -> None:
    """Collect the evaluated days into results.jsonl and cascade.jsonl; the same lines give the same bytes."""
    experiment.run.results_file.write(_lines(experiment.outcome_files()))
    if of_cascades := cascade_files(experiment):
        experiment.run.cascade_file.write(_lines(of_cascades))


def _lines(places: Sequence[Location]) -> bytes:
    outcomes = [read_outcome(place) for place in places]
    return "".join(json.dumps(outcome.line, allow_nan=False) + "\n" for outcome in outcomes).encode()
