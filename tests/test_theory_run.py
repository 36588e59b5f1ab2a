"""A theorem's recipe through the command."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from exfm_ray.cli import app

SMALL: dict[str, dict[str, Any]] = {
    "theorem31": {"type": "theorem31", "input_dim": 5, "model_dim": 2, "teacher_biases": [0.5], "steps": 50},
    "theorem32": {
        "type": "theorem32",
        "input_dim": 8,
        "adapter_dim": 2,
        "rows": 100,
        "repeats": 2,
        "input_dims": [4, 8, 16],
        "adapter_dims": [1, 2, 4],
        "row_counts": [50, 100, 200],
        "noises": [1, 2, 4],
    },
}


def exfm(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(params=sorted(SMALL))
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "theorem.yaml"
    path.write_text(yaml.safe_dump({"name": "small", "seeds": [0, 1], "theorem": SMALL[request.param]}))
    return path


def test_twice_gives_the_same_bytes_and_a_report(recipe: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        result = exfm("run", str(recipe), "--out", str(tmp_path / name))
        assert result.exit_code == 0, result.output
    one = (tmp_path / "one" / "results.jsonl").read_bytes()
    assert one == (tmp_path / "two" / "results.jsonl").read_bytes()
    assert {json.loads(line)["seed"] for line in one.splitlines()} == {0, 1}
    page = tmp_path / "one" / "report" / "index.html"
    written = page.read_bytes()
    assert b"Measured against predicted" in written
    page.unlink()
    assert exfm("report", str(tmp_path / "one")).exit_code == 0
    assert page.read_bytes() == written


def test_mistakes_are_told_in_one_line(recipe: Path, tmp_path: Path) -> None:
    wrong = [
        ("theorem.stepz=3", "theorem.stepz: there is no such field"),
        ("theorem.type=theorem33", "theorem.type: 'theorem33' is unknown, allowed are 'theorem31', 'theorem32'"),
        ("theorem.input_dim=0", "theorem.input_dim: 0: input should be greater than or equal to 1"),
        ("vms=[]", "vms: there is no such field"),
    ]
    for edit, told in wrong:
        result = exfm("run", str(recipe), "--out", str(tmp_path / "out"), "--set", edit)
        assert result.exit_code == 2
        assert told in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_another_recipe_in_the_same_directory_is_refused(recipe: Path, tmp_path: Path) -> None:
    assert exfm("run", str(recipe), "--out", str(tmp_path / "run")).exit_code == 0
    result = exfm("run", str(recipe), "--out", str(tmp_path / "run"), "--set", "seeds=[5]")
    assert result.exit_code == 2
    assert "holds another run" in result.stderr


def test_a_theorem_has_no_models(recipe: Path) -> None:
    result = exfm("models", str(recipe))
    assert result.exit_code == 2
    assert "is of a theorem and has no models" in result.stderr
