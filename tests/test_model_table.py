"""`exfm models` says what each model costs."""

from pathlib import Path

from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.config import Recipe
from exfm_ray.data.dataset import open_dataset
from exfm_ray.model_table import model_costs
from exfm_ray.models.build import build_model


def test_costs_are_those_of_the_models_that_a_run_builds(small_recipe: Recipe) -> None:
    schema = open_dataset(small_recipe.data).schema
    fm, first, second = model_costs(small_recipe, history_length=5)
    assert fm.parameters == build_model(small_recipe.fm.model, schema, 1).parameter_count()
    assert first.parameters == build_model(small_recipe.vms[0].model, schema.for_vm(), 1).parameter_count()
    assert 0 < second.table_parameters < second.parameters
    assert fm.training_flops > first.training_flops > second.training_flops > 0


def test_the_command_names_every_model(small_recipe_file: Path) -> None:
    result = CliRunner().invoke(app, ["models", str(small_recipe_file)])
    assert result.exit_code == 0, result.output
    assert all(word in result.output for word in ("fm", "dcnv2", "first", "deepfam", "second", "fam"))


def test_a_wrong_recipe_is_told(small_recipe_file: Path) -> None:
    result = CliRunner().invoke(app, ["models", str(small_recipe_file), "--set", "vms.first.domain=9"])
    assert result.exit_code == 2
    assert "vms.0 (first).domain: 9 is not in the data" in result.stderr
