"""`exfm export`: from a run to a program that serves, and what the command refuses."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load, load_file
from typer.testing import CliRunner

from exfm_ray.cli import app
from exfm_ray.data.batches import day_batches
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.data.snapshots import SnapshotDatabase
from exfm_ray.export import choose
from exfm_ray.models import serving
from exfm_ray.models.products import by_torch
from tests.conftest import small_content


def exfm(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def content() -> dict[str, Any]:
    """The small recipe with two seeds, and a VM that has one method."""
    recipe = small_content(seeds=[3, 1], methods=["ah_sa", "none", "kd"])
    batch_norm = {"type": "deepfam", "embedding_dim": 4, "hidden": [8, 4], "dropout": 0.2, "batch_norm": True}
    recipe["vms"] = [
        {"name": "first", "domain": 0, "model": batch_norm},
        {"name": "second", "domain": 1, "methods": ["none"], "model": {"type": "fam", "embedding_dim": 4}},
    ]
    return recipe


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    place = tmp_path_factory.mktemp("finished")
    recipe = place / "small.yaml"
    recipe.write_text(yaml.safe_dump(content()))
    result = exfm("run", recipe, "--out", place / "run")
    assert result.exit_code == 0, result.output
    return place / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def manifest(export: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((export / "manifest.json").read_text())
    return found


def test_the_defaults_are_the_last_method_the_first_seed_and_the_newest_day(run: Path) -> None:
    result = exfm("export", run, "first")
    assert result.exit_code == 0, result.output
    export = run / "export" / "first-ah_sa-seed3" / "day=003"
    assert str(export) in result.output.replace("\n", "")
    assert "snapshot: first-ah_sa-seed3/day=003" in result.output
    assert sorted(path.name for path in export.iterdir()) == [
        *("manifest.json", "parameters.safetensors", "program.pt2"),
    ]
    about = manifest(export)["about"]
    assert (about["vm"], about["method"], about["seed"], about["trained_through"]) == ("first", "ah_sa", 3, 3)
    assert about["compared_day"] == 4
    assert about["compared_rows"] > 500
    assert about["operations"][-1].startswith("aten.")
    assert about["tasks"] == ["click"]


def test_what_is_served_equals_what_was_evaluated(run: Path, tmp_path: Path) -> None:
    """Read as a server would: by torch alone, from the files that the manifest lists."""
    out = tmp_path / "served"
    result = exfm("export", run, "first", "--method", "kd", "--seed", 1, "--day", 2, "--out", out)
    assert result.exit_code == 0, result.output
    found = manifest(out)
    program = torch.export.load(io.BytesIO((out / found["files"][0]["name"]).read_bytes()))
    choice = choose(RunDirectory(Location.of(str(run))), "first", "kd", 1, 2, None)
    model, facts = choice.snapshots.load(2)
    assert found["about"]["parameters"] == facts.parameters == model.parameter_count()
    assert found["about"]["schema"] == json.loads(facts.inputs.model_dump_json())
    batch = next(day_batches(choice.experiment.vm_traffic(choice.vm), 3, 300))
    with torch.no_grad(), by_torch():
        assert torch.equal(program.module()(*serving.flat(batch.inputs)), model(batch.inputs))
    parameters = load_file(out / "parameters.safetensors")
    assert parameters.keys() == model.state_dict().keys()
    for name, tensor in program.state_dict.items():
        assert torch.equal(parameters[name.removeprefix("model.")], tensor)


def test_no_head_and_no_adapter_is_exported(run: Path) -> None:
    for method in ("none", "ah_sa"):
        assert exfm("export", run, "first", "--method", method).exit_code == 0
    plain, taught = (run / "export" / f"first-{method}-seed3" / "day=003" for method in ("none", "ah_sa"))
    facts = [manifest(export)["about"] for export in (plain, taught)]
    assert all(facts[0][key] == facts[1][key] for key in ("operations", "parameters", "inputs", "model"))
    checkpoints = sorted((run / "checkpoints" / "first-ah_sa-seed3").rglob("*.safetensors"))
    trained = load(checkpoints[-1].read_bytes())
    assert any("adapter" in name for name in trained)
    assert load_file(plain / "parameters.safetensors").keys() == load_file(taught / "parameters.safetensors").keys()
    assert not any(part in name for name in load_file(taught / "parameters.safetensors") for part in ("head", "adapt"))


def test_exporting_again_changes_nothing(run: Path) -> None:
    assert exfm("export", run, "second").exit_code == 0
    export = run / "export" / "second-none-seed3" / "day=003"
    before = {path: path.read_bytes() for path in export.iterdir()}
    result = exfm("export", run, "second")
    assert result.exit_code == 0, result.output
    assert {path: path.read_bytes() for path in export.iterdir()} == before


def test_an_export_that_was_cut_off_is_made_anew(run: Path) -> None:
    export = run / "export" / "second-none-seed3" / "day=003"
    export.mkdir(parents=True)
    (export / "program.pt2").write_bytes(b"half")
    (export / "program.pt2.1234abcd.tmp").write_bytes(b"half")
    assert exfm("export", run, "second").exit_code == 0
    assert len(list(export.iterdir())) == 3
    assert serving.load_program((export / "program.pt2").read_bytes()).state_dict


def test_a_run_goes_on_beside_an_export(run: Path, tmp_path: Path) -> None:
    assert exfm("export", run, "second").exit_code == 0
    before = (run / "results.jsonl").read_bytes()
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content()))
    assert exfm("run", tmp_path / "small.yaml", "--out", run).exit_code == 0
    assert (run / "results.jsonl").read_bytes() == before
    assert (run / "export" / "second-none-seed3" / "day=003" / "manifest.json").is_file()


def test_a_partly_finished_run_is_exported(run: Path) -> None:
    (run / "results.jsonl").unlink()
    shutil.rmtree(run / "days" / "day=004")
    shutil.rmtree(run / "snapshots" / "second-none-seed3" / "day=003")
    result = exfm("export", run, "second")
    assert result.exit_code == 0, result.output
    assert manifest(run / "export" / "second-none-seed3" / "day=002")["about"]["compared_day"] == 3


def test_a_program_that_differs_is_our_failure_and_is_not_written(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = serving.save_program

    def shifted(program: torch.export.ExportedProgram) -> bytes:
        with torch.no_grad():
            program.state_dict["model.bias"].add_(1e-3)
        content = saved(program)
        with torch.no_grad():
            program.state_dict["model.bias"].sub_(2e-3)
        return content

    monkeypatch.setattr("exfm_ray.export.save_program", shifted)
    result = exfm("export", run, "first")
    assert result.exit_code == 1
    assert "differs from the model on rows of day 4" in result.stderr
    assert not (run / "export").exists()


MISTAKES = [
    (["fourth"], "VM: 'fourth' is not a VM of ", "; choose one of first, second"),
    (["first", "--method", "ah"], "--method: 'ah' is not a method of first; choose one of none, kd, ah_sa", ""),
    (["second", "--method", "kd"], "--method: 'kd' is not a method of second; choose one of none", ""),
    (["first", "--seed", "0"], "--seed: 0 is not a seed of the run; choose one of 3, 1", ""),
    (["first", "--day", "9"], "--day: 9 is not a published day of first-ah_sa-seed3; choose one of 2, 3", ""),
]


@pytest.mark.parametrize(("arguments", "begin", "end"), MISTAKES, ids=[" ".join(mistake[0]) for mistake in MISTAKES])
def test_a_mistake_is_told_in_one_line(finished: Path, arguments: list[str], begin: str, end: str) -> None:
    result = exfm("export", finished, *arguments)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert begin in result.stderr
    assert end in result.stderr
    assert not (finished / "export").exists()


def test_a_dmin_is_told_to_be_beyond_export(run: Path) -> None:
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    groups = [{"targets": ["ad_id"], "sequences": ["history"]}]
    recipe["recipe"]["vms"][0]["model"] = {"type": "dmin", "embedding_dim": 2, "groups": groups}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    result = exfm("export", run, "first")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "VM: 'first' is a dmin, whose loops depend on the data, so that torch.export refuses it" in result.stderr
    assert "all types but dmin are allowed" in result.stderr
    assert not (run / "export").exists()


def test_real_logs_with_histories_are_exported(kuairand_path: Path, tmp_path: Path) -> None:
    vms = [
        {"name": "click", "model": {"type": "deepfam", "embedding_dim": 4, "hidden": [8], "dropout": 0.2}},
        {"name": "like", "task": "like", "model": {"type": "dlrm", "embedding_dim": 4, "top_hidden": [8]}},
    ]
    data = {"type": "kuairand", "path": str(kuairand_path), "last_date": "2022-04-27"}
    recipe = tmp_path / "kuairand.yaml"
    recipe.write_text(yaml.safe_dump(small_content(data=data, methods=["ah_sa"], vms=vms)))
    assert exfm("run", recipe, "--out", tmp_path / "run").exit_code == 0
    for vm in ("click", "like"):
        result = exfm("export", tmp_path / "run", vm, "--out", tmp_path / vm)
        assert result.exit_code == 0, result.output
        about = manifest(tmp_path / vm)["about"]
        assert about["compared_rows"] == 10_000
        assert [fact["shape"] for fact in about["inputs"]][2:] == [["V"], ["B + 1"]]


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    result = exfm("export", tmp_path, "first")
    assert result.exit_code == 2
    assert f"RUN: {tmp_path} has no recipe.yaml" in result.stderr


def test_a_run_that_has_published_nothing_is_told(run: Path) -> None:
    assert SnapshotDatabase(Location.of(str(run / "snapshots" / "second-none-seed1"))).days() == [2, 3]
    shutil.rmtree(run / "snapshots" / "second-none-seed1")
    result = exfm("export", run, "second", "--seed", 1)
    assert result.exit_code == 2
    assert "--day: no day of second-none-seed1 is published yet" in result.stderr
    shutil.rmtree(run / "days")
    result = exfm("export", run, "second")
    assert result.exit_code == 2
    assert f"RUN: the days of {run} are not at {run / 'days'}" in result.stderr


def test_a_directory_that_holds_something_else_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    result = exfm("export", run, "second", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "holds 'thesis.tex', which is no export; name an empty directory" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
    result = exfm("export", run, "second", "--out", tmp_path / "out" / "thesis.tex")
    assert result.exit_code == 2
    assert "thesis.tex is a file; name a directory" in result.stderr
    assert exfm("export", run, "second", "--out", tmp_path / "served").exit_code == 0
    result = exfm("export", run, "second", "--day", 2, "--out", tmp_path / "served")
    assert result.exit_code == 2
    assert "holds second-none-seed3/day=003, another snapshot or run" in result.stderr
