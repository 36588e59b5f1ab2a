"""Work that runs have in common is made once, by whichever comes first, and changes no number."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyarrow import fs
from typer.testing import CliRunner, Result

from exfm_ray.cli import app
from exfm_ray.data.location import Location
from exfm_ray.data.store import made_of
from tests.conftest import small_content
from tests.s3_server import S3Server

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
    assert kept == {
        ".lock", "checkpoints", "commands", "recipe.yaml", "report", "results", "results.jsonl", "snapshots", "starts"
    }  # fmt: skip
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


def test_who_made_what_is_told_and_what_was_there_is_told_apart(first: Path, store: Path, tmp_path: Path) -> None:
    page = (first / "run" / "report" / "index.html").read_text()
    assert f"Nothing of this run was in the store {first / 'store'} before." in page
    longer = full(methods=["kd"])
    longer["data"]["days"] = 5
    run(longer, tmp_path / "run", store)
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    # 4 days, their ids, 3 joined, 3 of the FM and 3 of supervision were there, of 3,000 rows each but those no VM reads
    assert "14 pieces of work over 39,000 rows, which took those who made them" in page
    own, reused = (tables(part) for part in page.split("<h3>Reused</h3>"))
    assert own["FM training"] == "1"
    assert own["FM supervision"] == "1"
    assert own["VM evaluation"] == "6"
    assert reused == {
        "Data preparation": "4",
        "Counting of ids": "1",
        "Feedback join": "3",
        "FM training": "3",
        "FM supervision": "3",
    }


def tables(page: str) -> dict[str, str]:
    """Pieces of each kind of work."""
    return dict(re.findall(r"<tr><td>([A-Z][^<]*)</td><td>(\d+)</td>", page.split('<section id="work">')[-1]))


def test_a_run_goes_on_with_the_store_that_it_began_with(first: Path, tmp_path: Path) -> None:
    shutil.copytree(first / "run", tmp_path / "run")
    recipe, out, held = first / "run.yaml", tmp_path / "run", first / "store"
    for options, told in (
        ([], f"--store: {out} was begun with --store {held}, not without; say --store {held} again"),
        (
            ["--store", str(tmp_path / "other")],
            f"--store: {out} was begun with --store {held}, not with {tmp_path / 'other'}; say --store {held} again",
        ),
    ):
        done = exfm("run", str(recipe), "--out", str(out), *options)
        assert (done.exit_code, done.stderr) == (2, f"exfm: {told}\n")
    assert not (tmp_path / "other").exists()


def test_a_run_of_its_own_is_not_moved_to_a_store(tmp_path: Path) -> None:
    small = small_content(methods=["none"])
    run(small, tmp_path / "run", None)
    done = exfm("run", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run"), "--store", str(tmp_path / "store"))
    told = f"--store: {tmp_path / 'run'} was begun without a store, not with {tmp_path / 'store'}; leave --store out"
    assert (done.exit_code, done.stderr) == (2, f"exfm: {told}\n")
    assert not (tmp_path / "store").exists()


def test_other_versions_do_not_go_on_with_what_these_have_made(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_of, "version", lambda package: "9" if package == "torch" else version(package))
    shutil.copytree(first / "run", tmp_path / "run")
    options = ["--out", str(tmp_path / "run"), "--store", str(first / "store")]
    done = exfm("run", str(first / "run.yaml"), *options)
    assert done.exit_code == 2
    assert (
        f"--store: the fm that {tmp_path / 'run'} uses in the store came of other input files, versions" in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("place", ["a file", "below a file"])
def test_a_store_that_cannot_be_is_told(small_recipe_file: Path, tmp_path: Path, place: str) -> None:
    where = tmp_path / "file" if place == "a file" else tmp_path / "file" / "store"
    (tmp_path / "file").write_text("")
    done = exfm("run", str(small_recipe_file), "--out", str(tmp_path / "run"), "--store", str(where))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"exfm: --store: {where} ")
    assert not (tmp_path / "run").exists()


def test_a_theorem_has_nothing_to_share(tmp_path: Path) -> None:
    recipe = tmp_path / "theorem.yaml"
    recipe.write_text(yaml.safe_dump({"name": "theorem", "theorem": {"type": "theorem31"}}))
    done = exfm("run", str(recipe), "--out", str(tmp_path / "run"), "--store", str(tmp_path / "store"))
    assert done.exit_code == 2
    assert (
        done.stderr == f"exfm: --store: {recipe} is of a theorem, which makes nothing that others use; leave it out\n"
    )


def test_the_snapshots_of_others_are_not_collected_by_a_service(first: Path) -> None:
    done = exfm("serve", str(first / "run"), "--collect")
    assert done.exit_code == 2
    assert f"--collect: the snapshots of {first / 'run'} lie in the store {first / 'store'}" in done.stderr


def test_a_vm_is_exported_over_days_of_the_store(first: Path, store: Path, tmp_path: Path) -> None:
    shorter = full(methods=["kd"])
    shorter["data"]["days"] = 3
    run(shorter, tmp_path / "run", store)
    done = exfm("export", str(tmp_path / "run"), "first")
    assert done.exit_code == 0, done.output + done.stderr
    assert "equal bit for bit" in done.output
    assert "of day 3," in done.output  # the run's last, though the store has another day


def test_grids_share_fms_and_days_across_runs(tmp_path: Path) -> None:
    cross = {"embedding_dim": 4, "cross_layers": 1, "hidden": [8]}
    fms = [{"name": name, "model": {"type": name, **cross}} for name in ("dcnv2", "dcn")]
    content = small_content(methods=["none", "kd"], vocabulary={"min_count": 3})
    del content["fm"]
    store = tmp_path / "store"
    run(content | {"fms": fms[:1]}, tmp_path / "one", store)
    before = manifests(store)
    assert run(content | {"fms": fms}, tmp_path / "both", store) == run(
        content | {"fms": fms}, tmp_path / "alone", None
    )
    assert manifests(store).items() > before.items()
    assert counted(store) == {"days": 4, "vocabulary": 1, "fm": 6, "supervision": 6}
    assert not list((tmp_path / "both").glob("**/day=*/*.parquet"))
    page = (tmp_path / "both" / "fm=dcnv2" / "report" / "index.html").read_text()
    assert tables(page.split("<h3>Reused</h3>")[1])["FM training"] == "3"
    own = (tmp_path / "both" / "fm=dcn" / "report" / "index.html").read_text().split("<h3>Reused</h3>")[0]
    assert tables(own)["FM training"] == "3"


def test_raw_logs_are_prepared_once(kuairand_path: Path, tmp_path: Path) -> None:
    content = small_content(
        data={"type": "kuairand", "path": str(kuairand_path), "last_date": "2022-04-28"},
        methods=["none"],
        vms=[{"name": "fam", "model": {"type": "fam", "embedding_dim": 4}}],
    )
    run(content, tmp_path / "one", tmp_path / "store")
    before = manifests(tmp_path / "store")
    run(content | {"seeds": [5]}, tmp_path / "two", tmp_path / "store")
    assert manifests(tmp_path / "store") == before
    assert not (tmp_path / "two" / "work").exists()


def command(recipe: Path, out: Path, store: Path) -> list[str]:
    return [sys.executable, "-m", "exfm_ray.cli", "run", str(recipe), "--out", str(out), "--store", str(store)]


@pytest.mark.parametrize("moment", ["days/*/day=002", "fm/*/snapshots/fm/day=001", "supervision/*/day=002"])
def test_another_run_goes_on_where_one_was_killed(first: Path, tmp_path: Path, moment: str) -> None:
    store, recipe = tmp_path / "store", first / "run.yaml"
    process = subprocess.Popen(command(recipe, tmp_path / "killed", store), stdout=subprocess.DEVNULL)
    while not list(store.glob(f"{moment}/manifest.json")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = manifests(store)
    expected = (first / "run" / "results.jsonl").read_bytes()
    assert run(full(), tmp_path / "other", store) == expected
    assert manifests(store).items() > before.items()
    after = manifests(store)
    assert run(full(), tmp_path / "killed", store) == expected
    assert manifests(store) == after


def test_of_two_runs_at_once_each_work_is_made_by_one(first: Path, tmp_path: Path) -> None:
    store, recipe = tmp_path / "store", first / "run.yaml"
    outs = [tmp_path / name for name in ("one", "two")]
    runs = [subprocess.Popen(command(recipe, out, store), stdout=subprocess.PIPE, text=True) for out in outs]
    told = [process.communicate()[0] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], told
    expected = (first / "run" / "results.jsonl").read_bytes()
    assert [(out / "results.jsonl").read_bytes() for out in outs] == [expected, expected]
    assert counted(store) == counted(first / "store")
    makers: dict[str, set[int]] = {}
    for name, content in manifests(store).items():
        makers.setdefault(name.split("/")[0], set()).add(json.loads(content)["made"]["process"])
    assert all(len(processes) == 1 for processes in makers.values())
    files = {place.name for place in store.rglob("*") if place.is_file() and "day=" in str(place)}
    listed = {file["name"] for content in manifests(store).values() for file in json.loads(content)["files"]}
    assert {name for name in files if name.startswith("part")} == {name for name in listed if name.startswith("part")}


def test_a_store_of_objects(s3: S3Server, first: Path, tmp_path: Path) -> None:
    store = s3.bucket("common") / "store"
    expected = (first / "run" / "results.jsonl").read_bytes()
    assert run(full(), tmp_path / "one", store.uri) == expected
    before = objects(store)
    assert len(before) > 20
    assert run(full(name="other"), tmp_path / "two", store.uri) == expected
    assert objects(store) == before


def objects(store: Location) -> dict[str, Any]:
    """When each object of work was put."""
    system, path = store.opened()
    found = system.get_file_info(fs.FileSelector(path, recursive=True))
    return {info.path: info.mtime for info in found if info.type == fs.FileType.File and "/day=" in info.path}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_on_ray_another_run_goes_on_where_one_was_killed(first: Path, tmp_path: Path) -> None:
    """Workers of the killed run may live on for a moment and commit what they are at."""
    store, recipe = tmp_path / "store", tmp_path / "ray.yaml"
    recipe.write_text(yaml.safe_dump(full(resources={"fleet_workers": 1, "wait_timeout_seconds": 120})))
    process = subprocess.Popen(command(recipe, tmp_path / "killed", store), stdout=subprocess.DEVNULL)
    while not list(store.glob("supervision/*/day=002/manifest.json")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = manifests(store)
    done = subprocess.run(command(recipe, tmp_path / "other", store), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other" / "results.jsonl").read_bytes() == (first / "run" / "results.jsonl").read_bytes()
    assert manifests(store).items() >= before.items()
    assert counted(store) == counted(first / "store")
