"""`exfm models`: what each model of a recipe costs to hold and to train."""

from dataclasses import dataclass

from rich.table import Table

from exfm_ray.config import ModelConfig, Recipe
from exfm_ray.data.commit import require
from exfm_ray.data.dataset import open_dataset
from exfm_ray.data.partitions import committed_days
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.errors import UserError
from exfm_ray.models.build import build_model, shapes_alone
from exfm_ray.models.flops import training_flops
from exfm_ray.preflight import check_recipe
from exfm_ray.schema import EMPTY_VOCABULARY_ROWS, Schema


@dataclass(frozen=True)
class ModelCost:
    """One row: parameters in all and in embedding tables, operations of training on one example."""

    name: str
    type: str
    parameters: int
    table_parameters: int
    training_flops: int


def model_costs(recipe: Recipe, history_length: int, run: RunDirectory | None = None) -> list[ModelCost]:
    """The FM, then the VMs as they are served; nothing is allocated for their tables.

    Args:
        history_length: elements of each sequence that an example is taken to have.
        run: whose vocabularies say how large the tables of counted features are; None takes them for hash-coded.

    Raises:
        UserError: the recipe does not fit its data, or the run has no vocabularies of it.
    """
    data = open_dataset(recipe.data)
    check_recipe(recipe, data)
    schema = data.schema if run is None or recipe.vocabulary is None else _sized(recipe, data.schema, run)
    tasks = len(schema.tasks)
    read_by_fm = schema.without(recipe.fm.exclude)
    costs = [_cost(recipe.fm.name, recipe.fm.model, read_by_fm, tasks, history_length)]
    return costs + [_cost(vm.name, vm.model, schema.for_vm(), 1, history_length) for vm in recipe.vms]


def _sized(recipe: Recipe, schema: Schema, run: RunDirectory) -> Schema:
    """The schema with tables as large as the run's vocabularies: the newest ones, where they grow."""
    assert recipe.vocabulary is not None
    days = run.own_days("vocabulary", committed_days(run.vocabulary))
    day = max(days, default=0) if recipe.vocabulary.grow else recipe.counted_through_day
    if day not in days:
        raise UserError(f"--run: {run.root} has not counted its vocabularies yet; let `exfm run` get that far first")
    counted = schema.counted(but=recipe.vocabulary.hashed)
    names = [feature.name for feature in counted.counted_features()]
    known = {name: facts["known"] for name, facts in require(run.vocabulary.day(day)).about["features"].items()}
    if names != list(known):
        raise UserError(
            f"--run: {run.root} counts {', '.join(known)}, and the recipe {', '.join(names)}; name a run of this recipe"
        )
    return counted.sized({name: count + EMPTY_VOCABULARY_ROWS for name, count in known.items()})


def _cost(name: str, config: ModelConfig, schema: Schema, tasks: int, history_length: int) -> ModelCost:
    with shapes_alone():
        model = build_model(config, schema, tasks)
    tables = sum(table.numel() for table in model.table_parameters())
    flops = training_flops(config, schema, tasks, history_length)
    return ModelCost(name, config.type, model.parameter_count(), tables, flops)


def model_table(recipe: Recipe, history_length: int, run: RunDirectory | None = None) -> Table:
    """The costs for a terminal; the last column compares with the cheapest VM."""
    costs = model_costs(recipe, history_length, run)
    base = min(cost.training_flops for cost in costs[1:])
    unknown = recipe.vocabulary is not None and run is None
    table = Table(
        title=f"{recipe.name}: training FLOPs per example, histories of {history_length}",
        caption="vocabularies are not counted yet: tables as hash-coded (--run DIR takes those of a run)"
        if unknown
        else None,
    )
    for heading in ("model", "type", "parameters", "in tables", "training FLOPs", "x cheapest VM"):
        table.add_column(heading, justify="left" if heading in ("model", "type") else "right")
    for cost in costs:
        figures = (f"{cost.parameters:,}", f"{cost.table_parameters:,}", f"{cost.training_flops:,}")
        table.add_row(cost.name, cost.type, *figures, f"{cost.training_flops / base:.1f}")
    return table
