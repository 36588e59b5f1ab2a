"""`exfm models`: what each model of a recipe costs to hold and to train."""

from dataclasses import dataclass

import torch
from rich.table import Table

from exfm_ray.config import ModelConfig, Recipe
from exfm_ray.data.dataset import open_dataset
from exfm_ray.models.build import build_model
from exfm_ray.models.flops import training_flops
from exfm_ray.preflight import check_recipe
from exfm_ray.schema import Schema


@dataclass(frozen=True)
class ModelCost:
    """One row: parameters in all and in embedding tables, operations of training on one example."""

    name: str
    type: str
    parameters: int
    table_parameters: int
    training_flops: int


def model_costs(recipe: Recipe, history_length: int) -> list[ModelCost]:
    """The FM, then the VMs as they are served; nothing is allocated for their tables.

    Args:
        history_length: elements of each sequence that an example is taken to have.

    Raises:
        UserError: the recipe does not fit its data.
    """
    data = open_dataset(recipe.data)
    check_recipe(recipe, data)
    tasks = len(data.schema.tasks)
    read_by_fm = data.schema.without(recipe.fm.exclude)
    costs = [_cost(recipe.fm.name, recipe.fm.model, read_by_fm, tasks, history_length)]
    return costs + [_cost(vm.name, vm.model, data.schema.for_vm(), 1, history_length) for vm in recipe.vms]


def _cost(name: str, config: ModelConfig, schema: Schema, tasks: int, history_length: int) -> ModelCost:
    with torch.device("meta"):
        model = build_model(config, schema, tasks)
    tables = sum(table.numel() for table in model.table_parameters())
    flops = training_flops(config, schema, tasks, history_length)
    return ModelCost(name, config.type, model.parameter_count(), tables, flops)


def model_table(recipe: Recipe, history_length: int) -> Table:
    """The costs for a terminal; the last column compares with the cheapest VM."""
    costs = model_costs(recipe, history_length)
    base = min(cost.training_flops for cost in costs[1:])
    table = Table(title=f"{recipe.name}: training FLOPs per example, histories of {history_length}")
    for heading in ("model", "type", "parameters", "in tables", "training FLOPs", "x cheapest VM"):
        table.add_column(heading, justify="left" if heading in ("model", "type") else "right")
    for cost in costs:
        figures = (f"{cost.parameters:,}", f"{cost.table_parameters:,}", f"{cost.training_flops:,}")
        table.add_row(cost.name, cost.type, *figures, f"{cost.training_flops / base:.1f}")
    return table
