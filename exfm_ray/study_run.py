"""A study's file to its report: one simulation makes days, FM, supervision and controls, all trials are taught by it.

The days that choose are not the days that report: trials live through evaluated days up to `choose_through_day`; the
chosen point is then trained from the recipe's seeds over all days, beside its controls.
"""

import json
import time
import uuid
from functools import partial

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial
from rich.console import Console

from exfm_ray.cluster import shared_cluster
from exfm_ray.config import Chosen, StudyConfig
from exfm_ray.data.dataset import Dataset, open_dataset
from exfm_ray.data.experiment import Experiment
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import STUDY_FILE, RunDirectory, read_outcome
from exfm_ray.errors import UserError
from exfm_ray.needs import machine_memory
from exfm_ray.preflight import check_memory, check_recipe
from exfm_ray.quiet import quieten
from exfm_ray.run_start import claim_run, difference, holding
from exfm_ray.sharing import sharing_of
from exfm_ray.simulation import check_doors, simulate_on
from exfm_ray.tune.chosen import choose
from exfm_ray.tune.drivers import giving_signs, wait_for_others
from exfm_ray.tune.search import search
from exfm_ray.tune.trial_book import TrialBook, open_study
from exfm_ray.tune.worker_pool import worker_pool

SETTINGS = "settings"
"""an attribute of a study: what it searches, as plain values"""


def run_study(
    config: StudyConfig,
    run: RunDirectory,
    address: str | None,
    console: Console,
    storage: str | None = None,
    timeout_seconds: float | None = None,
    store: Location | None = None,
) -> None:
    """Search, choose, and report the chosen point on days that did not choose it; or go on where that stopped.

    Args:
        address: of a Ray cluster; None starts one on this machine.
        storage: any SQLAlchemy URL, for drivers that share a study; None: a file in the run directory.
        store: where work lies that runs have in common; None: all is in the run directory.
        timeout_seconds: of the search; trials under way go on when the same command is started again.

    Raises:
        UserError: the study does not fit its data, or as `simulate`.
    """
    controls = config.controls()
    data = open_dataset(controls.data)
    check_recipe(controls, data)
    check_study(config, data)
    check_doors(controls, address)
    if address is None:
        check_memory(controls, data, machine_memory())
    held_in, sharing = study_storage(storage, run), sharing_of(store, controls.data, data)
    with holding(run.root), shared_cluster((controls,), address) as cluster:
        claim_run(run, config, None)
        experiment = simulate_on(data, controls, run.simulation, cluster, console, sharing=sharing)
        logs = run.local_directory() / "logs"
        quieten(logs)
        workers = 1 if controls.resources.mode == "local" else cluster.fleet_workers(controls, logs)
        study = open_study(config, held_in)
        claim_storage(study, config)
        driver = driver_of(run)
        book = TrialBook(study, config, driver, config.wanted_trials)
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        tell = partial(console.print, highlight=False, soft_wrap=True)
        with worker_pool(experiment, workers) as pool, giving_signs(study, driver):
            search(config, experiment, book, pool, deadline, tell)
        wait_for_others(study, driver, deadline, tell)
        write_trials(study, run)
        chosen = choose(study, config)
        train_chosen(config, chosen, experiment, workers)
        write_chosen(config, chosen, experiment, run)


def check_study(config: StudyConfig, data: Dataset) -> None:
    """Compare a study's days with those of the data.

    Raises:
        UserError: no day is left to report.
    """
    if config.choose_through_day >= data.days:
        raise UserError(
            f"choose_through_day: {config.choose_through_day} leaves none of the {data.days} days to report what was "
            f"chosen; at most {data.days - 1} is allowed, or add days"
        )


def claim_storage(study: Study, config: StudyConfig) -> None:
    """Note in a study's storage what it searches, or check that drivers who were there before search the same.

    Raises:
        UserError: they do not.
    """
    now = config.model_dump(mode="json")
    held = study.user_attrs.get(SETTINGS)
    if held is None:
        study.set_user_attr(SETTINGS, now)
        return
    for section, value in now.items():
        if found := difference(section, held.get(section), value):
            raise UserError(f"--storage: holds another study {config.name!r}: {found}; give this one another name")


def driver_of(run: RunDirectory) -> str:
    """The name of the driver that works in a directory, the same when it is started again.

    Directories on two machines may have one path, so that the path alone does not tell.
    """
    run.driver_file.write_first(uuid.uuid4().hex[:12].encode())
    return f"{run.root} ({run.driver_file.read().decode()})"


def study_storage(url: str | None, run: RunDirectory) -> str:
    """Where a study's trials are.

    Raises:
        UserError: the run directory is no local one, or the URL opens no storage.
    """
    if url is None and not run.root.is_local:
        raise UserError(
            f"--storage: is missing; {run.root} is not on this machine, so name a database (SQLAlchemy URL)"
        )
    return url or f"sqlite:///{run.root}/{STUDY_FILE}"


def begun_storage(url: str | None, run: RunDirectory) -> str:
    """The storage of a study that was begun.

    Raises:
        UserError: it was not.
    """
    storage = study_storage(url, run)
    if url is None and not (run.root / STUDY_FILE).is_file():
        raise UserError(f"--out: {run.root} has no {STUDY_FILE}; begin the study first, or name its --storage")
    return storage


def train_chosen(config: StudyConfig, chosen: Chosen, experiment: Experiment, workers: int) -> None:
    """Train the chosen point from the recipe's seeds, over all days."""
    from exfm_ray.train.launch import train_vertical_models

    train_vertical_models(experiment, workers, list(chosen.variants(config)))


def write_trials(study: Study, run: RunDirectory) -> None:
    """A line per trial, by number: what the report draws, whoever holds the storage."""
    lines = [json.dumps(trial_line(trial), allow_nan=False) + "\n" for trial in study.get_trials(deepcopy=False)]
    run.trials_file.write("".join(lines).encode())


def trial_line(trial: FrozenTrial) -> dict[str, object]:
    """A trial as plain values, without who trained it."""
    attributes = {name: value for name, value in trial.user_attrs.items() if name != "driver"}
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "values": trial.values,
        "params": trial.params,
        "distributions": {
            name: json.loads(optuna.distributions.distribution_to_json(found))
            for name, found in trial.distributions.items()
        },
        "violations": list(trial.constraints.values()),
        "intermediate": {str(step): value for step, value in sorted(trial.intermediate_values.items())},
        **attributes,
    }


def write_chosen(config: StudyConfig, chosen: Chosen, experiment: Experiment, run: RunDirectory) -> None:
    """The chosen point, and results.jsonl: the controls' lines and then its own."""
    places = experiment.outcome_files(list(chosen.variants(config)))
    own = [read_outcome(place).line for place in places]
    lines = [json.dumps(line, allow_nan=False) + "\n" for line in own]
    run.results_file.write(run.simulation.results_file.read() + "".join(lines).encode())
    run.chosen_file.write(chosen.model_dump_json(indent=1).encode())
