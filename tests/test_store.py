"""Work that runs have in common is made once, by whichever comes first, and changes no number."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from exfm_ray.cli import app
from tests.conftest import small_content

MADE = ("days/*/day=*", "vocabulary/*/day=*", "feedback/*/day=*", "fm/*/snapshots/*/day=*", "supervision/*/day=*")


def exfm(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def run(content: dict[str, Any], out: Path, store: Path | str | None, *edits: str) -> bytes:
    """Results of a run."""
    out.parent.mkdir(parents=True, exist_ok=True)
    recipe = out.parent / f"{out.name}.yaml"
    recipe.write_text(yaml.safe_dump(content))
    options = ["--store", str(store)] if store is not None else []
    done = exfm("run", str(recipe), "--out", str(out), *options, *(f"--set={edit}" for edit in edits))
    assert done.exit_code == 0, done.output + done.stderr
    return (out / "results.jsonl").read_bytes()


def manifests(store: Path) -> dict[str, bytes]:
    """What was made, by whom and when, of all that never changes."""
    found = [place for pattern in MADE for place in store.glob(f"{pattern}/manifest.json")]
    return {str(place.relative_to(store)): place.read_bytes() for place in found}


def counted(store: Path) -> dict[str, int]:
    """Committed days of each kind."""
    names = [place.split("/")[0] for place in manifests(store)]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def full(**changes: Any) -> dict[str, Any]:
    """A recipe with work of every kind."""
    return small_content(vocabulary={"min_count": 3}, das={"feedback": {}}, **changes)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that one run has filled; `run` is beside it. Not to be changed."""
    place = tmp_path_factory.mktemp("first")
    run(full(), place / "run", place / "store")
    return place


@pytest.fixture
def store(first: Path, tmp_path: Path) -> Path:
    shutil.copytree(first / "store", tmp_path / "store")
    return tmp_path / "store"


def test_work_lies_in_the_store_and_the_numbers_are_those_of_a_run_of_its_own(first: Path, tmp_path: Path) -> None:
    assert run(full(), tmp_path / "alone", None) == (first / "run" / "results.jsonl").read_bytes()
    assert counted(first / "store") == {"days": 4, "vocabulary": 1, "feedback": 3, "fm": 3, "supervision": 3}
    kept = {place.name for place in (first / "run").iterdir()} - {"logs", "pointer"}
    assert kept == {".lock", "checkpoints", "recipe.yaml", "report", "results", "results.jsonl", "snapshots"}
    assert not (first / "run" / "snapshots" / "fm").exists()


def test_a_run_that_differs_in_vms_methods_and_seeds_asks_the_fm_for_nothing(store: Path, tmp_path: Path) -> None:
    before = manifests(store)
    other = full(name="other", seeds=[3, 4], methods=["kd", "ah_sa"], distill={"grad_scale": 3.0})
    other["vms"] = [
        {"name": "narrow", "domain": 1, "model": {"type": "deepfam", "embedding_dim": 4, "hidden": [4]}},
        {"name": "wide", "domain": 0, "model": {"type": "fmfam", "embedding_dim": 8}, "optimizer": {"batch_size": 64}},
    ]
    assert run(other, tmp_path / "run", store) == run(other, tmp_path / "alone", None)
    assert manifests(store) == before


def test_more_days_go_on_where_fewer_ended(store: Path, tmp_path: Path) -> None:
    longer = full()
    longer["data"]["days"] = 6
    before = manifests(store)
    assert run(longer, tmp_path / "run", store) == run(longer, tmp_path / "alone", None)
    after = manifests(store)
    assert after.items() >= before.items()
    assert counted(store) == {"days": 6, "vocabulary": 1, "feedback": 5, "fm": 5, "supervision": 5}


def test_fewer_days_are_found_among_more(store: Path, tmp_path: Path) -> None:
    shorter = full()
    shorter["data"]["days"] = 3
    before = manifests(store)
    assert run(shorter, tmp_path / "run", store) == run(shorter, tmp_path / "alone", None)
    assert manifests(store) == before
    lines = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    assert {line["eval_day"] for line in lines} == {3}


def test_another_fm_is_another_one(store: Path, tmp_path: Path) -> None:
    before = manifests(store)
    other = full(fm=small_content()["fm"] | {"seed": 1})
    assert run(other, tmp_path / "run", store) == run(other, tmp_path / "alone", None)
    assert manifests(store).items() > before.items()
    assert counted(store) == {"days": 4, "vocabulary": 1, "feedback": 3, "fm": 6, "supervision": 6}
