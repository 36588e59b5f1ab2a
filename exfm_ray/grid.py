"""A grid's recipe to its results: the days are made once, then one simulation per FM, each in a run of its own.

All share one Ray, and what they know of the ids where they count the same days. Every simulation goes on where it
stopped, so the grid does.
"""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from rich.console import Console

from exfm_ray.cluster import SharedCluster, shared_cluster
from exfm_ray.config import GridRecipe
from exfm_ray.data.dataset import Dataset, open_dataset
from exfm_ray.data.location import Location
from exfm_ray.data.partitions import committed_days
from exfm_ray.data.prepare import Spread, prepare
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.needs import machine_memory
from exfm_ray.preflight import check_memory, check_recipe
from exfm_ray.progress import day_phases, watching
from exfm_ray.run_start import claim_run, holding
from exfm_ray.sharing import in_use, making_turn, sharing_of
from exfm_ray.simulation import check_doors, is_large, simulate_on


def run_grid(
    grid: GridRecipe, run: RunDirectory, address: str | None, console: Console, store: Location | None = None
) -> None:
    """Run every simulation of a grid to its results, and put their lines together.

    Args:
        address: of a Ray cluster; None starts one on this machine.
        store: where work lies that runs have in common; None: all is in the grid's run.

    Raises:
        UserError: as `simulate`.
    """
    data, recipes = open_dataset(grid.data), grid.simulations()
    for recipe in recipes:
        check_recipe(recipe, data)
        if address is None:
            check_memory(recipe, data, machine_memory())
    check_doors(recipes[0], address)
    sharing = sharing_of(store, grid.data, data)
    with ExitStack() as held:
        held.enter_context(holding(run.root))
        cluster = held.enter_context(shared_cluster(recipes, address))
        claim_run(run, grid, data.prepared, stored=sharing.stored(sharing.kept_days) if sharing else None)
        if sharing is not None and (held_work := run.stored) is not None:
            held.enter_context(in_use(sharing.store, sharing.kept_days, run.root))
            sharing = replace(sharing, begun=held_work.begun)
        prepare_grid_days(grid, data, run, cluster, console)
        shared = Dataset(data.schema, data.days, prepared=run.days)
        for recipe in recipes:
            console.print(f"{recipe.fm.name}: teaches {len(recipe.vms)} VMs", highlight=False)
            of_fm = run.of_fm(recipe.fm.name)
            vocabulary = run.vocabulary_of(recipe) if sharing is None else None
            simulate_on(shared, recipe, of_fm, cluster, console, vocabulary, sharing)
        lines = b"".join(run.of_fm(recipe.fm.name).results_file.read() for recipe in recipes)
        run.results_file.write(lines)


def prepare_grid_days(
    grid: GridRecipe, data: Dataset, run: RunDirectory, cluster: SharedCluster, console: Console
) -> None:
    """Make the days that all simulations share, over all cores where they are worth it."""
    if data.source is None:
        return
    spread: Spread = map
    if grid.resources.mode == "ray" and is_large(grid.data, data) and len(committed_days(run.days)) < data.days:
        spread = cluster.spread(run.local_directory() / "logs")
    pieces = [run.days.day(day) for day in range(1, data.days + 1)]
    tell = partial(console.print, highlight=False, soft_wrap=True)
    turn = making_turn(run.stored, "days", pieces, grid.resources, tell)
    with watching(day_phases(data.source, run.days, run.work), console), turn:
        prepare(data.source, run.days, spread=spread, work=run.work)
    run.work.delete()
