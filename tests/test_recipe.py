"""A wrong recipe is told in one line that names the field, and nothing is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.errors import UserError
from exfm_ray.recipe import apply_edit, read_any_recipe, read_recipe, validated
from tests.conftest import small_content

REPOSITORY = Path(__file__).parents[1]

WRONG = [
    (["methodz=[none]"], "methodz: there is no such field; did you mean 'methods'?"),
    (["data.dayz=4"], "data.dayz: there is no such field; did you mean 'days'?"),
    (["fm.model.embeding_dim=4"], "fm.model.embeding_dim: there is no such field; did you mean 'embedding_dim'?"),
    (
        ["vms.first.distill={los_weight: 2}"],
        "vms.0.distill.los_weight: there is no such field; did you mean 'loss_weight'?",
    ),
    (["data.days=soon"], "data.days: 'soon': input should be a valid integer"),
    (["data.days=0"], "data.days: 0: input should be greater than or equal to 3"),
    (["data.events_per_day=true"], "data.events_per_day"),
    (["vms.first.model={type: deepfm}"], "vms.0.model.type: 'deepfm' is unknown, allowed are"),
    (["vms.first.model={embedding_dim: 4}"], "vms.0.model.type: is missing"),
    (["vms.first.model={type: two_tower}"], "vms.0.model.item_fields: is missing"),
    (
        ["vms.first.model={type: two_tower, item_fields: [nothing]}"],
        "vms.0 (first).model: item_fields names 'nothing', which is no feature here; choose from ",
    ),
    (["vms.first.model={type: deepfam, dropout: 1}"], "vms.0.model.dropout: 1: input should be less than 1"),
    (
        ["vms.first.workers=2"],
        "vms.first.workers is 2, and resources.mode local has one process; say workers: 1, whose numbers differ by ",
    ),
    (["fm.workers=3"], "fm.workers is 3, and resources.mode local has one process; say workers: 1"),
    (["vms.first.workers=0"], "vms.0.workers: 0: input should be greater than or equal to 1"),
    (
        ["resources.mode=ray", "vms.first.workers=2", "vms.first.model={type: deepfam, batch_norm: true}"],
        "workers is 2, but model.batch_norm needs every row of a batch in one process; say workers: 1, or leave ",
    ),
    (
        ["resources.mode=ray", "fm.workers=2", "fm.model={type: dcnv2, dropout: 0.1}"],
        "fm: workers is 2, but model.dropout needs every row of a batch in one process",
    ),
    (["vms.first.domain=7"], "vms.0 (first).domain: 7 is not in the data; its domains are 0 to 1"),
    (["vms.first.stage=final"], "vms.0 (first).stage: 'final' is not in the data; choose one of later"),
    (["vms.first.task=buy"], "vms.0 (first).task: 'buy' is not in the data; choose one of click"),
    (
        ["vms.first.model={type: dmin, groups: [{targets: [ad_id], sequences: [bought]}]}"],
        "vms.0 (first).model.groups.0.sequences: 'bought' is no sequence feature of the data; it has none",
    ),
    (
        ["fm.model={type: dmin, groups: [{targets: [ad], sequences: [bought]}]}"],
        "fm.model.groups.0.targets: 'ad' is no categorical feature of the data; it has user_id, ad_id,",
    ),
    (
        ["fm.model={type: dmin, heads: 3, groups: [{targets: [ad_id], sequences: [bought]}]}"],
        "heads: 3 must divide embedding_dim x targets of every group, but one has 16 x 1",
    ),
    (["vms=[]"], "vms: "),
    (["vms.second.name=first"], "the name 'first' is given to more than one"),
    (["methods=[kd, kd]"], "methods repeats a value"),
    (["methods=[teach]"], "methods.0: 'teach': input should be 'none', 'kd', 'ah' or 'ah_sa'"),
    (["seeds=[]"], "seeds"),
    (["distill.label_scale=0"], "distill.label_scale: 0: input should be greater than 0"),
    (["distill.loss_weight=.nan"], "distill.loss_weight"),
    (
        ["distill.tasks={click: {los_weight: 2}}"],
        "distill.tasks.click.los_weight: there is no such field; did you mean 'loss_weight'?",
    ),
    (["distill.tasks={buy: {loss_weight: 2}}"], "distill.tasks: 'buy' is no task of the data; choose from click"),
    (["fm.exclude=[price]"], "fm.exclude: 'price' is no feature of the data; choose from user_id, "),
    (["fm.staleness_days=9"], "4 days are too few to train VMs from day 11 on"),
    (["evaluate.train_from_day=1"], "evaluate.train_from_day: 1 has no supervision"),
    (["data={type: kuairand, path: /nowhere}"], "/nowhere"),
    (["data={type: partitions, path: /nowhere}"], "data.path: /nowhere is no directory"),
    (["data={type: kuairand, path: /x, item_columns: [show_cnt]}"], "show_cnt is a counter over the whole month"),
    (["data={type: avro}"], "data.type: 'avro' is unknown"),
    (["data.tasks=[click, like]", "fm.model={type: fam}"], "fm.model.type: 'fam' predicts one task but the data has 2"),
    (["vms.third.domain=1"], "--set: vms.third.domain has no item 'third'; choose one of first, second"),
    (["data.days.much=1"], "--set: data.days.much"),
    (["data.days"], "is not of the form path=value"),
    (["data.days=[1"], "--set data.days is not YAML"),
]


@pytest.mark.parametrize(("edits", "message"), WRONG, ids=lambda value: value[0] if isinstance(value, list) else "")
def test_a_mistake_is_one_line_exit_code_2_and_writes_nothing(
    small_recipe_file: Path, tmp_path: Path, edits: list[str], message: str
) -> None:
    out = tmp_path / "out"
    arguments = ["run", str(small_recipe_file), "--out", str(out)]
    for edit in edits:
        arguments += ["--set", edit]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not out.exists()


def _missing(_: Path) -> str:
    return "does not exist"


def _empty(path: Path) -> str:
    path.mkdir()
    return "data.path"


def _lacks_a_column(path: Path) -> str:
    path.mkdir()
    for name, columns in (
        ("interactions", ["user_id", "video_id", "time_ms"]),
        ("users", ["user_id"]),
        ("items", ["video_id"]),
    ):
        pq.write_table(pa.table({column: [1] for column in columns}), path / f"{name}.parquet")
    return "has no column"


@pytest.mark.parametrize("make", [_missing, _empty, _lacks_a_column])
def test_a_data_path_that_is_missing_empty_or_lacks_a_column(tmp_path: Path, make: Callable[[Path], str]) -> None:
    message = make(tmp_path / "data")
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(yaml.safe_dump(small_content(data={"type": "kuairand", "path": str(tmp_path / "data")})))
    result = CliRunner().invoke(app, ["run", str(recipe), "--out", str(out)])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("- 1\n- 2\n", "holds no mapping"), ("name: [", "is not YAML at line"), ("", "holds no mapping")],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_recipe(str(path))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no file; name a YAML file"):
        read_recipe(str(tmp_path / "none.yaml"))


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(UserError, match="is not YAML"):
        read_recipe(str(path))


def test_edits_reach_keys_indices_and_names() -> None:
    content = small_content()
    for edit in ("data.days=5", "vms.0.domain=1", "vms.second.domain=0", "seeds=[1, 2]", "distill.loss_weight=2"):
        apply_edit(content, edit)
    recipe = validated(content)
    assert recipe.seeds == (1, 2)
    assert [vm.domain for vm in recipe.vms] == [1, 0]
    assert recipe.distill.loss_weight == 2.0


def test_a_vm_overrides_distillation() -> None:
    content: dict[str, Any] = small_content(distill={"loss_weight": 3.0, "adapter": {"hidden": [4]}})
    content["vms"][0]["distill"] = {"grad_scale": 2.0}
    recipe = validated(content)
    first, second = (vm.distill for vm in recipe.vms)
    assert (first.loss_weight, first.grad_scale, first.adapter.hidden) == (3.0, 2.0, (4,))
    assert (second.loss_weight, second.grad_scale) == (3.0, 1.0)


def test_distillation_by_task_stands_between_the_recipe_and_the_vm() -> None:
    shared = {"loss_weight": 3.0, "adapter": {"hidden": [4]}}
    of_like = {"grad_scale": 5.0, "adapter": {"learning_rate": 0.5}}
    content: dict[str, Any] = small_content(distill=shared | {"tasks": {"like": of_like}})
    content["vms"][1]["task"] = "like"
    content["vms"][1]["distill"] = {"label_scale": 2.0}
    recipe = validated(content)
    first, second = (vm.distill for vm in recipe.vms)
    assert (first.loss_weight, first.grad_scale, first.adapter.learning_rate) == (3.0, 1.0, 0.01)
    assert (second.loss_weight, second.grad_scale, second.label_scale) == (3.0, 5.0, 2.0)
    assert (second.adapter.hidden, second.adapter.learning_rate) == ((4,), 0.5)
    assert validated(recipe.model_dump(mode="json")) == recipe


def test_the_clock_of_a_stale_fm() -> None:
    recipe = validated(small_content(fm={"train_from_day": 2, "staleness_days": 3}))
    assert recipe.first_supervised_day == 6


@pytest.mark.parametrize("path", sorted((REPOSITORY / "sims").glob("*.yaml")), ids=lambda path: path.name)
def test_recipes_of_the_project_are_right(path: Path) -> None:
    assert read_any_recipe(str(path)).name == path.stem
