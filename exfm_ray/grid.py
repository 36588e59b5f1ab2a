"""A grid's recipe to its results: the days are made once, then one simulation per FM, each in a run of its own.

All share one Ray, and what they know of the ids where they count the same days. Every simulation goes on where it
stopped, so the grid does.
"""

from rich.console import Console

from exfm_ray.cluster import SharedCluster, machine_memory, shared_cluster
from exfm_ray.config import GridRecipe
from exfm_ray.data.dataset import Dataset, open_dataset
from exfm_ray.data.partitions import committed_days
from exfm_ray.data.prepare import WORK, Spread, prepare
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.preflight import check_memory, check_recipe
from exfm_ray.progress import day_phases, watching
from exfm_ray.run_start import claim_run, holding
from exfm_ray.simulation import check_doors, is_large, simulate_on


def run_grid(grid: GridRecipe, run: RunDirectory, address: str | None, console: Console) -> None:
    """Run every simulation of a grid to its results, and put their lines together.

    Args:
        address: of a Ray cluster; None starts one on this machine.

    Raises:
        UserError: as `simulate`.
    """
    data, recipes = open_dataset(grid.data), grid.simulations()
    for recipe in recipes:
        check_recipe(recipe, data)
        if address is None:
            check_memory(recipe, data, machine_memory())
    check_doors(recipes[0], address)
    with holding(run.root), shared_cluster(recipes, address) as cluster:
        claim_run(run, grid, data.prepared)
        prepare_grid_days(grid, data, run, cluster, console)
        shared = Dataset(data.schema, data.days, prepared=run.days)
        for recipe in recipes:
            console.print(f"{recipe.fm.name}: teaches {len(recipe.vms)} VMs", highlight=False)
            of_fm = run.of_fm(recipe.fm.name)
            simulate_on(shared, recipe, of_fm, cluster, console, run.vocabulary_of(recipe))
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
    with watching(day_phases(data.source, run.days), console):
        prepare(data.source, run.days, spread=spread)
    (run.days / WORK).delete()
