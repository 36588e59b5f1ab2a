"""A run directory as a command finds it that only reads it."""

from exfm_ray.data.experiment import Experiment
from exfm_ray.data.partitions import SCHEMA_FILE, committed_days, read_schema
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import UserError


def experiment_of(run: RunDirectory) -> Experiment:
    """The run as far as it has come, without a look at the raw data that its days were made from.

    Raises:
        UserError: it is no run directory, the run of a theorem or of a grid, or its days are gone.
    """
    if not run.recipe_file.is_file():
        raise UserError(f"RUN: {run.root} has no recipe.yaml, so it is no run directory; give the --out of an exfm run")
    if run.is_of_a_theorem():
        raise UserError(f"RUN: {run.root} is the run of a theorem, which publishes no model; give one of a simulation")
    if run.is_of_a_grid():
        names = ", ".join(simulation.root.name for simulation in run.fms())
        raise UserError(f"RUN: {run.root} is a grid of several FMs; give one of its simulations: {names}")
    if not (run.days / SCHEMA_FILE).is_file():
        raise UserError(
            f"RUN: the days of {run.root} are not at {run.days}; let `exfm run` prepare them, or put them back"
        )
    days = run.own_days("days", committed_days(run.days))
    return Experiment(
        recipe=run.recipe(),
        root=run.root.uri,
        dataset=run.days.uri,
        data_schema=read_schema(run.days),
        days=max(days, default=0),
        shared_vocabulary=run.vocabulary.uri,
        stored=run.stored,
    )
