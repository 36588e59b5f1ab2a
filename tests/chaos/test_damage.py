"""Whatever committed thing a disk has spoiled: the same command says which, and makes the right numbers once mended."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from exfm_ray.data.commit import MANIFEST
from tests.chaos.small_run import SmallRun

LAST_RESULTS = ["results.jsonl", *(f"results/{vm}/ah_sa/seed=0/day=004.json" for vm in ("first", "second"))]
LAST_SUPERVISION = "supervision/fm/day=004"

COMMITS: dict[str, tuple[str, list[str]]] = {
    "partition": ("days/day=004", LAST_RESULTS),
    "side-car": (LAST_SUPERVISION, LAST_RESULTS),
    "snapshot": ("snapshots/fm/day=003", [*LAST_RESULTS, LAST_SUPERVISION]),
    "checkpoint of the FM": ("checkpoints/fm/day=003", [*LAST_RESULTS, LAST_SUPERVISION, "snapshots/fm/day=003"]),
    "checkpoint of a VM": ("checkpoints/first-ah_sa-seed0/day=003", LAST_RESULTS),
}
"""kind → a commit of the run, and what must still be to do so that the commit is read"""


def tear(commit: Path) -> None:
    """As a disk leaves a file that was not yet on it when the power went."""
    file = content_of(commit)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(commit: Path) -> None:
    content = bytearray(content_of(commit).read_bytes())
    content[len(content) // 2] ^= 1
    content_of(commit).write_bytes(content)


def write_a_wrong_checksum(commit: Path) -> None:
    manifest = json.loads((commit / MANIFEST).read_text())
    manifest["files"][0]["sha256"] = "0" * 64
    (commit / MANIFEST).write_text(json.dumps(manifest))


def lose_a_file(commit: Path) -> None:
    content_of(commit).unlink()


def tear_the_manifest(commit: Path) -> None:
    text = (commit / MANIFEST).read_text()
    (commit / MANIFEST).write_text(text[: len(text) // 2])


def content_of(commit: Path) -> Path:
    """The first file that a manifest lists."""
    return min(path for path in commit.iterdir() if path.name != MANIFEST)


DAMAGES = (tear, flip_a_bit, write_a_wrong_checksum, lose_a_file, tear_the_manifest)


@pytest.fixture(autouse=True)
def no_cached_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a replica would rightly answer with the node's own copy of a snapshot that is damaged in storage."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def unfinished(small_run: SmallRun, tmp_path: Path) -> Callable[[list[str]], Path]:
    """Copies the run and takes something away from it."""

    def without(lacking: list[str]) -> Path:
        run = tmp_path / "run"
        shutil.copytree(small_run.out, run)
        for name in lacking:
            shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
        return run

    return without


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", COMMITS)
def test_damage_is_told_and_mended_as_it_says(
    kind: str, damage: Callable[[Path], None], small_run: SmallRun, unfinished: Callable[[list[str]], Path]
) -> None:
    name, lacking = COMMITS[kind]
    run = unfinished(lacking)
    damage(run / name)
    said = small_run.again(run)
    assert said.exit_code == 1
    assert not (run / "results.jsonl").exists()
    (line,) = said.stderr.strip().splitlines()
    assert str(run / name) in line
    assert "delete that directory and start the command that made it again" in line
    shutil.rmtree(run / name)
    mended = small_run.again(run)
    assert mended.exit_code == 0, mended.stderr
    assert (run / "results.jsonl").read_bytes() == small_run.results


def change_a_number(outcome: Path) -> None:
    content = json.loads(outcome.read_text())
    content["line"]["ne"] += 1e-6
    outcome.write_text(json.dumps(content))


def tear_in_two(outcome: Path) -> None:
    outcome.write_text(outcome.read_text()[:50])


@pytest.mark.parametrize("damage", [change_a_number, tear_in_two])
def test_a_damaged_result_is_told_and_mended_as_it_says(
    damage: Callable[[Path], None], small_run: SmallRun, unfinished: Callable[[list[str]], Path]
) -> None:
    run = unfinished(["results.jsonl"])
    outcome = run / "results" / "first" / "ah_sa" / "seed=0" / "day=003.json"
    damage(outcome)
    said = small_run.again(run)
    assert said.exit_code == 1
    assert not (run / "results.jsonl").exists()
    assert f"{outcome} cannot be read: " in said.stderr
    assert "delete that file and start the same command again" in said.stderr
    outcome.unlink()
    assert small_run.again(run).exit_code == 0
    assert (run / "results.jsonl").read_bytes() == small_run.results
