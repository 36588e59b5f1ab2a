"""Every FM with every VM, and the windows of the 8-day protocol."""

import json
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from typer.testing import CliRunner, Result

from exfm_ray.cli import app
from exfm_ray.config import GridRecipe
from exfm_ray.data.commit import require
from exfm_ray.data.location import Location
from exfm_ray.data.run_directory import RunDirectory
from exfm_ray.run_start import claim_run
from tests.conftest import small_content

MODEL = {"embedding_dim": 4, "cross_layers": 1, "hidden": [8]}


def grid_content(**changes: Any) -> dict[str, Any]:
    content = small_content(
        fms=[
            {"name": "crossing", "model": {"type": "dcnv2", **MODEL}},
            {"name": "plain", "model": {"type": "dcn", **MODEL}},
        ],
        vms=[
            {"name": "fam", "domain": 0, "model": {"type": "fam", "embedding_dim": 4}},
            {"name": "deepfam", "domain": 0, "model": {"type": "deepfam", "embedding_dim": 4, "hidden": [8, 4]}},
        ],
        methods=["none", "kd", "ah_sa"],
        evaluate={"protocol": "windows"},
        paper="table2",
    )
    content["data"] |= {"days": 8, "events_per_day": 1_000}
    del content["fm"]
    return content | changes


def exfm(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def run(content: dict[str, Any], directory: Path, name: str) -> Path:
    recipe = directory / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump(content))
    done = exfm("run", str(recipe), "--out", str(directory / name))
    assert done.exit_code == 0, done.output + done.stderr
    return directory / name


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(grid_content(), tmp_path_factory.mktemp("grid"), "grid")


def test_each_fm_is_trained_once_and_what_has_no_teacher_is_run_once(grid: Path) -> None:
    found = {(line["fm"], line["vm"], line["method"]) for line in lines(grid)}
    taught = {
        (fm, vm, method) for fm in ("crossing", "plain") for vm in ("fam", "deepfam") for method in ("kd", "ah_sa")
    }
    assert found == taught | {("crossing", "fam", "none"), ("crossing", "deepfam", "none")}
    assert {line["eval_day"] for line in lines(grid)} == {6, 7, 8}
    assert sorted(path.parent.name for path in grid.glob("days/*/manifest.json")) == [
        f"day=00{day}" for day in range(1, 9)
    ]
    for fm in ("crossing", "plain"):
        assert not (grid / f"fm={fm}" / "days").exists()
        assert len([*(grid / f"fm={fm}" / "snapshots" / fm).glob("*/manifest.json")]) == 7


def test_the_same_command_makes_nothing_again(grid: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in grid.glob("**/manifest.json")}
    assert exfm("run", str(grid.parent / "grid.yaml"), "--out", str(grid)).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in grid.glob("**/manifest.json")} == before


def test_a_window_is_a_vm_that_was_never_trained_before(grid: Path, tmp_path: Path) -> None:
    """Trained from its start on day 6 and tested on day 7: as the first tested day of a stream that begins there."""
    content = small_content(methods=["none", "kd", "ah_sa"], evaluate={"train_from_day": 6})
    content |= {"data": grid_content()["data"], "fm": grid_content()["fms"][0], "vms": grid_content()["vms"]}
    stream = [line for line in lines(run(content, tmp_path, "stream")) if line["eval_day"] == 7]
    windows = [line for line in lines(grid) if line["eval_day"] == 7 and line["fm"] == "crossing"]
    assert windows == stream


def test_the_report_puts_the_papers_numbers_beside(grid: Path) -> None:
    page = (grid / "report" / "index.html").read_text()
    for number in ("0.5389", "0.7228", "0.5463", "0.2901"):
        assert f"<td>{number}</td>" in page
    assert (grid / "fm=plain" / "report" / "index.html").is_file()


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    content = grid_content(vocabulary={"min_count": 3}, methods=["none", "kd"], evaluate={})
    content["fms"].append({"name": "later", "train_from_day": 5, "model": {"type": "dcn", **MODEL}})
    content["data"] |= {"days": 7}
    return run(content, tmp_path_factory.mktemp("counted"), "grid")


def test_simulations_that_count_the_same_days_count_them_once(counted: Path) -> None:
    places = {str(path.parent.relative_to(counted)) for path in counted.glob("**/vocabulary/**/manifest.json")}
    last = [f"vocabulary/through=005/day=00{day}" for day in range(1, 6)]
    assert places == {"vocabulary/through=001/day=001", *last}
    for fm, through in (("crossing", 1), ("plain", 1), ("later", 5)):
        simulation = RunDirectory(Location.of(str(counted / f"fm={fm}")))
        assert simulation.vocabulary.uri == str(counted / f"vocabulary/through=00{through}")
        (schema,) = {
            json.loads(path.read_text())["about"]["inputs"]["features"][0]["rows"]
            for path in (counted / f"fm={fm}").glob("snapshots/*/*/manifest.json")
        }
        known = require(simulation.vocabulary.day(through)).about["features"]
        assert schema == next(iter(known.values()))["known"] + 2
        assert "An id seen 3 times or more in day" in simulation.report_file.read().decode()


def test_a_vocabulary_that_is_shared_gives_the_numbers_of_ones_own(counted: Path, tmp_path: Path) -> None:
    content = grid_content(vocabulary={"min_count": 3}, methods=["none", "kd"], evaluate={})
    alone = content | {"fm": content["fms"][1], "data": content["data"] | {"days": 7}, "methods": ["kd"]}
    del alone["fms"], alone["paper"]
    assert lines(run(alone, tmp_path, "alone")) == [line for line in lines(counted) if line["fm"] == "plain"]


def test_a_simulation_goes_on_with_the_vocabulary_that_it_has(tmp_path: Path) -> None:
    """As one does that was begun before grids shared theirs."""
    place = Location.of(str(tmp_path))
    (recipe,) = GridRecipe.model_validate(grid_content(fms=[{"name": "plain"}], vocabulary={})).simulations()
    claim_run(RunDirectory(place), recipe, None)
    claim_run(RunDirectory(place), recipe, None, place / "shared")
    assert RunDirectory(place).vocabulary == place / "vocabulary"


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_all_simulations_share_one_ray_and_give_the_numbers_of_one_process(
    counted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    start = ray.init
    monkeypatch.setattr(ray, "init", lambda *arguments, **options: started.append(1) or start(*arguments, **options))
    content = yaml.safe_load((counted.parent / "grid.yaml").read_text()) | {"resources": {}}
    content["fms"] = content["fms"][:2]
    expected = [line for line in lines(counted) if line["fm"] in ("crossing", "plain")]
    assert lines(run(content, tmp_path, "grid")) == expected
    assert len(started) == 1
    assert not ray.is_initialized()


def test_a_grid_is_refused_where_one_fm_is_meant(grid: Path) -> None:
    done = exfm("models", str(grid.parent / "grid.yaml"))
    assert done.exit_code == 2
    assert "is a grid of several FMs; name a recipe with one `fm`" in done.stderr


@pytest.mark.parametrize("command", ["serve {}", "export {} fam"])
def test_one_simulation_of_a_grid_is_served_or_exported(grid: Path, command: str) -> None:
    done = exfm(*command.format(grid).split())
    assert done.exit_code == 2
    assert f"RUN: {grid} is a grid of several FMs; give one of its simulations: fm=crossing, fm=plain" in done.stderr


def test_a_wrong_field_of_a_grid_is_told(tmp_path: Path) -> None:
    recipe = tmp_path / "grid.yaml"
    recipe.write_text(yaml.safe_dump(grid_content(paper="table9")))
    done = exfm("run", str(recipe), "--out", str(tmp_path / "run"))
    assert done.exit_code == 2
    assert done.stderr.startswith("exfm: paper: 'table9'")
    assert not (tmp_path / "run").exists()


def test_names_are_given_once() -> None:
    content = grid_content()
    content["fms"][1]["name"] = "fam"
    with pytest.raises(ValueError, match="'fam' is given to more than one of fms and vms"):
        GridRecipe.model_validate(content)


def test_a_stream_in_place_of_public_data_is_told_on_every_page(tmp_path: Path) -> None:
    content = grid_content(data={"type": "taobao", "scale": 0.0005}, methods=["none", "ah_sa"])
    content |= {"fms": content["fms"][:1], "vms": content["vms"][:1], "evaluate": {"train_from_day": 7}}
    for model in (*content["fms"], *content["vms"]):
        model["optimizer"] = {"batch_size": 524_288}
    directory = run(content, tmp_path, "shaped")
    for page in (directory, directory / "fm=crossing"):
        assert "These are not the public data: TaobaoAd was not read" in (page / "report" / "index.html").read_text()
    index = (directory / "report" / "index.html").read_text()
    assert "The data are 8 days of 1,564 rows each, 12,512 in all." in index
    assert {line["domain"] for line in lines(directory)} == {0}
    assert all(line["rows"] > 300 for line in lines(directory))
