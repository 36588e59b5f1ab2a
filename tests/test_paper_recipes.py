"""The recipes of the paper's tables, checked as `exfm run` checks them before it starts anything."""

from pathlib import Path

import pytest

from exfm_ray.config import GridRecipe, PublicData
from exfm_ray.data.dataset import open_dataset
from exfm_ray.preflight import check_recipe
from exfm_ray.recipe import read_any_recipe
from exfm_ray.report.paper_tables import paper_numbers

SIMS = Path(__file__).parents[1] / "sims"
TABLES = ("table2", "table3", "table4", "table5")


def recipe(table: str, *edits: str) -> GridRecipe:
    found = read_any_recipe(str(SIMS / f"{table}.yaml"), edits)
    assert isinstance(found, GridRecipe)
    return found


@pytest.mark.parametrize("table", TABLES)
def test_without_a_path_it_fits_the_stream_of_its_data_sets_shape(table: str) -> None:
    grid = recipe(table)
    assert isinstance(grid.data, PublicData)
    assert grid.data.is_shaped
    data = open_dataset(grid.data)
    assert data.days == 8
    for simulation in grid.simulations():
        check_recipe(simulation, data)
        assert simulation.first_vm_day == 5


@pytest.mark.parametrize("table", TABLES)
def test_a_path_is_the_only_edit_that_public_data_need(table: str) -> None:
    grid = recipe(table, "data.path=somewhere")
    assert isinstance(grid.data, PublicData)
    assert not grid.data.is_shaped
    for model in (*grid.fms, *grid.vms):
        assert grid.data.batch_rows(model.optimizer.batch_size) in (1_024, 4_096, 8_192)


@pytest.mark.parametrize("table", TABLES[:3])
def test_every_number_of_the_paper_has_a_cell(table: str) -> None:
    grid = recipe(table)
    assert grid.paper == table
    cells = {
        (simulation.fm.model.type, vm.name, method)
        for simulation in grid.simulations()
        for vm in simulation.vms
        for method in (*simulation.methods_of(vm), "none")
    }
    assert set(paper_numbers(grid.paper)) == cells


def test_table_5_has_a_vm_per_task_under_one_fm_of_all_tasks() -> None:
    grid = recipe("table5")
    assert [vm.task for vm in grid.vms] == ["click", "follow", "like"]
    assert len(grid.fms) == 1
    assert open_dataset(grid.data).schema.tasks == ("click", "like", "follow")
    assert grid.paper is None
